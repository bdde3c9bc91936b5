"""Where commands print: what they were asked for, and how far they have come."""

from rich.console import Console

OUTPUT, PROGRESS = Console(), Console(stderr=True)
