"""Gevent: one greenlet per connection on gevent's own sockets, without monkey-patching."""
