"""``python -m impls.uvloop``."""

from impls.prefork import main
from impls.uvloop.server import LIBRARY, serve

main("uvloop", serve, LIBRARY)
