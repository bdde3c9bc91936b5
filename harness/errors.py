"""What the command line reports in one line."""


class BadInput(Exception):  # noqa: N818  the name says what it is; "Error" would add nothing
    """The user asked for something that cannot be; the text names the input and what would be right."""
