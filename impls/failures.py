"""What backends fail in: counted, named in the log and told to ``Backends``; a client may get a reply for theirs."""

from typing import Generic, TypeVar

from impls import counters
from impls.backends import Backends
from impls.contract import BAD_GATEWAY, GATEWAY_TIMEOUT
from impls.counters import Row
from impls.descriptors import OWN_WANT
from impls.exchange import Owed
from impls.log import Log

_T = TypeVar("_T")


class Failures(Generic[_T]):
    """Takes the failures of a worker's backends, and returns what is left to send to the client where that ends it."""

    def __init__(self, backends: Backends[_T], row: Row, log: Log) -> None:
        self._backends = backends
        self._row = row
        self._log = log

    # Before a backend has accepted

    def refused(self, backend: _T, error: Exception, *, is_connected: bool = False) -> None:
        """Take it that a connection failed before it took the request; the next backend may be tried.

        A library may tell as a connect that failed what is the reset of a connection just made; a refusal is no reset.
        """
        is_connected = is_connected or isinstance(error, ConnectionResetError)
        if not is_connected and isinstance(error, OSError) and error.errno in OWN_WANT:
            self.untried(backend, error)
            return
        self._report(backend, counters.ERROR_BACKEND_REFUSED, f"refused: {_reason(error)}")
        if is_connected:
            self._backends.accepted(backend)
        else:
            self._backends.failed(backend)

    def untried(self, backend: _T, error: Exception) -> None:
        """Take it that there was something wanting here, which is no fault of the backend's."""
        self._report(backend, counters.ERROR_BACKEND_REFUSED, f"could not be tried: {_reason(error)}")
        self._backends.untried(backend)

    def untried_in_time(self, backend: _T) -> bytes:
        """Take it that for want of a descriptor the client has waited for as long as it may."""
        self._report(backend, counters.ERROR_BACKEND_TIMEOUT, "could not be tried in time")
        self._backends.untried(backend)
        return GATEWAY_TIMEOUT

    def not_accepted(self, backend: _T) -> bytes:
        """Take it that a backend did not accept in time."""
        self._report(backend, counters.ERROR_BACKEND_TIMEOUT, "did not accept the connection in time")
        self._backends.failed(backend)
        return GATEWAY_TIMEOUT

    # After that

    def silent(self, backend: _T, exchange: Owed) -> bytes:
        """Take it that the time for the reply is over: no failure where none is owed."""
        if not exchange.owes:
            return b""
        self._report(backend, counters.ERROR_BACKEND_TIMEOUT, "did not answer in time")
        return GATEWAY_TIMEOUT if exchange.replies.between else b""

    def ended(self, backend: _T, exchange: Owed, *, cleanly: bool) -> bytes:
        """Take the end of a backend's stream, or its reset: no failure where it completes the reply or none is owed."""
        if cleanly and exchange.replies.end():
            self._row[counters.REQUESTS] += 1
        elif not exchange.replies.between:
            self._report(backend, counters.ERROR_BACKEND_BROKEN, "ended the connection within its reply")
        elif exchange.requests.unanswered:
            self._report(backend, counters.ERROR_BACKEND_BROKEN, "ended the connection without a reply")
            return BAD_GATEWAY
        return b""

    def _report(self, backend: _T, kind: int, what: str) -> None:
        self._row[kind] += 1
        self._log.problem(f"backend {backend} {what}")


def _reason(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)
