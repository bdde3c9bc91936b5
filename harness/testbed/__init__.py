"""Which hosts and CPUs play client, server and backend."""
