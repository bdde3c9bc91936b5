"""Whether a machine is set up for measuring: each setting that spoils figures, and the command that mends it."""
