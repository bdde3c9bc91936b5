"""Proxy mode: how a backend is named, and left."""

import socket

from harness.conformance import sock_diag
from harness.conformance.backend import reply_with_length
from harness.conformance.case import Section
from harness.conformance.subject import Subject
from harness.conformance.violation import ContractViolation, RequirementMissing

SECTION = Section()


@SECTION.case("PROXY-RESET-BACKEND", "the backend connection is reset, not closed", backends=("live",))
def reset_backend(subject: Subject) -> None:
    """See a reset at the backend, and in the kernel's table no TIME_WAIT of the proxy's."""
    client, call = subject.connect(), subject.call()
    client.send(call.request())
    backend = call.accept(client)
    backend.receive(len(call.request()), "the request at the backend")
    backend.send(reply_with_length())
    client.receive_reply()
    if not backend.expect_gone("when the exchange is over"):
        raise ContractViolation("a reset of the backend connection", "an ordinary end of the stream")
    backend.close()
    side = sock_diag.find(backend.remote, backend.local)
    if side is not None:
        raise ContractViolation("no trace of the backend connection on the proxy's side", f"state {side.state}")


@SECTION.case("PROXY-HOST-NAME", "a backend may be given by host name", server="none")
def host_name(subject: Subject) -> None:
    """Localhost, at whatever addresses this machine has for it."""
    try:
        found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise RequirementMissing(f"this machine does not know localhost: {error.strerror}") from None
    backend = subject.backend(sorted({str(sockaddr[0]) for *_, sockaddr in found}))
    server = subject.start(["-w", "1", "-x", f"localhost:{backend.port}"])
    client, call = subject.connect(server.listen[0]), subject.call([backend])
    client.send(call.request())
    call.accept(client).send(reply_with_length())
    client.expect(reply_with_length(), "the reply of a backend given by name")
