"""Checks, loads and compares TCP servers that it knows only as command lines."""
