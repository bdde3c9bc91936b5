"""Trio: one task per connection, nurseries and cancel scopes."""
