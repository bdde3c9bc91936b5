"""Protocols on the standard library's asyncio, with its own event loop."""
