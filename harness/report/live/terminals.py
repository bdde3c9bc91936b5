"""Which consoles can be drawn on."""

from rich.console import Console


def has_screen(console: Console) -> bool:
    """Tell whether a console is a terminal that can be drawn on, and no file that is to have colours as on one."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty() and not console.quiet
