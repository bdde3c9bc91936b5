"""asyncio Protocols on uvloop, which is libuv's event loop behind asyncio's interface."""
