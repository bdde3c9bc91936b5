"""What a worker does on raw epoll, by its options."""

import platform

from impls.epoll_raw.keepalive import answer_each
from impls.epoll_raw.proxy import relay
from impls.epoll_raw.short import answer_once
from impls.worker import Worker

LIBRARY = f"epoll of Linux {platform.release()}"


def serve(worker: Worker) -> None:
    """Serve until the order to stop has come and what was under way has ended."""
    if worker.options.backends:
        relay(worker)
    elif worker.options.keepalive:
        answer_each(worker)
    else:
        answer_once(worker)
