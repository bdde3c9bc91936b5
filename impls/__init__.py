"""TCP servers that do the same job in different ways.

Folders are implementations, files are what they share: ``ls impls`` is the catalogue.
Each folder runs as ``python -m impls.NAME`` and honours the flags in ``flags.py``.
"""

__version__ = "0.1.0"
