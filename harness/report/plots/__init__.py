"""Plots of a run, one kind a file: each a chart, and the same figures as a table for those who cannot see it."""
