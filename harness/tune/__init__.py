"""Sets a network card and its host up for a worker on each CPU, and puts all back as it was."""
