"""Where the core goes: perf(1) records the servers' CPUs while each serves the same rate, in turns."""
