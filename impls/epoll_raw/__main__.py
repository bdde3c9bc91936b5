"""``python -m impls.epoll_raw``."""

from impls.epoll_raw.server import LIBRARY, serve
from impls.prefork import main

main("epoll_raw", serve, LIBRARY, exclusive=True)
