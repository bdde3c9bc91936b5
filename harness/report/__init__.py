"""Text for people, made from a summary alone."""
