"""A run while it is under way: how far it has come, where each cell stands, and both as a screen or as lines."""
