"""All cases, in the order of CONTRACT.md."""

from harness.conformance.cases import (
    clients,
    command_line,
    keep_alive,
    listening,
    log_file,
    processes,
    proxy_backend,
    proxy_end,
    proxy_failures,
    proxy_faults,
    proxy_relay,
    replies,
    statistics,
    stopping,
    supervision,
    user,
)

CASES = (
    *processes.SECTION.cases,
    *stopping.SECTION.cases,
    *supervision.SECTION.cases,
    *listening.SECTION.cases,
    *replies.SECTION.cases,
    *keep_alive.SECTION.cases,
    *clients.SECTION.cases,
    *proxy_relay.SECTION.cases,
    *proxy_end.SECTION.cases,
    *proxy_faults.SECTION.cases,
    *proxy_failures.SECTION.cases,
    *proxy_backend.SECTION.cases,
    *statistics.SECTION.cases,
    *log_file.SECTION.cases,
    *command_line.SECTION.cases,
    *user.SECTION.cases,
)
