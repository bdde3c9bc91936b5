"""Judging: pure functions from what was measured to figures, rankings and verdicts; nothing here opens a socket."""
