"""``python -m impls.gevent``."""

import pprint  # noqa: F401  a worker's hub imports it, as a user perhaps who may not read this Python's files

from impls.gevent.server import LIBRARY, serve
from impls.prefork import main

main("gevent", serve, LIBRARY)
