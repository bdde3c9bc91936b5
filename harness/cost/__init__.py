"""What one request takes of a server, counted and not timed: system calls, segments, wake-ups, instructions.

A count is the same every time only if what happens between server and client happens in one order. So the worker is
held (SIGSTOP) while a step's packets are sent, until they have arrived; let go, it finds all of them at once, as a
busy server does, and the next step begins when it sleeps again.
"""
