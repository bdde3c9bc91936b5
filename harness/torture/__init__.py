"""Load with faults injected at random, on one implementation, and the account of what became of each request."""
