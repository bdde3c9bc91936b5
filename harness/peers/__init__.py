"""Peers: other people's servers, started with the flags of CONTRACT.md, to see where our own stand.

Each is a program that writes a configuration and becomes the server: ``python -m harness.peers.NAME FLAGS``.
"""

from harness.peers.peer import PEERS, Peer

__all__ = ["PEERS", "Peer"]
