"""``python -m impls.gevent``."""

from impls.gevent.server import LIBRARY, serve
from impls.prefork import main

main("gevent", serve, LIBRARY)
