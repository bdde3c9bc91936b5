"""``python -m impls.trio``."""

from impls.prefork import main
from impls.trio.server import LIBRARY, serve

main("trio", serve, LIBRARY)
