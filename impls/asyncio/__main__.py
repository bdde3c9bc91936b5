"""``python -m impls.asyncio``."""

from impls.asyncio.server import LIBRARY, serve
from impls.prefork import main

main("asyncio", serve, LIBRARY, exclusive=True)
