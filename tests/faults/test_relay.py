"""A proxy loses nothing, wherever messages are cut and whoever stops first: checked byte by byte at both ends.

The cases are drawn by hypothesis, the same in every run. A reply or request is drawn with its length, its content and
its cuts; a fault with the place where it happens.
"""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from typing import Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness import processes
from harness.conformance import sock_diag
from harness.conformance.backend import Call, reply_to_the_end, reply_with_length
from harness.conformance.connection import Connection
from harness.conformance.violation import ContractViolation
from harness.registry import Implementation
from tests.faults.pieces import Cuts, content, cuts, meanwhile, send, sending, sizes
from tests.faults.relays import Relay, Relays, running_relays
from tests.held_worker import held

DEADLINE = timedelta(seconds=40)
"""Of one example. What hangs fails earlier, at the connection that it hangs on."""
WITHIN_S = 10.0
IN_ONE_BATCH_BYTES = 12_000
"""What fits the kernel's first buffers, so that a worker that is held finds it all, and the fault, at once."""
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

Stop = Literal["ends", "resets"]
Then = Literal["stays", "ends", "resets"]
Framed = Literal["length", "interim", "end"]


def trying(examples: int) -> settings:
    return settings(
        derandomize=True,
        database=None,
        max_examples=examples,
        deadline=DEADLINE,
        phases=[Phase.generate],  # what hangs takes seconds, and would again for each smaller example
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@pytest.fixture(scope="module")
def relays(tmp_path_factory: pytest.TempPathFactory, _nothing_survives: None) -> Iterator[Relays]:
    with running_relays(tmp_path_factory.mktemp("relay")) as running:
        yield running


@pytest.fixture(params=[(), ("-k",)], ids=["short", "keepalive"])
def flags(request: pytest.FixtureRequest) -> tuple[str, ...]:
    chosen: tuple[str, ...] = request.param
    return chosen


def reply_of(kind: Framed, body: bytes) -> bytes:
    if kind == "end":
        return reply_to_the_end(body)
    return (INTERIM if kind == "interim" else b"") + reply_with_length(body)


def serve(relay: Relay) -> None:
    """Have one small exchange, as others have while something goes wrong."""
    with relay.client() as (client, call):
        client.send(call.request())
        backend = call.accept(client)
        backend.expect(call.request(), "another's request")
        backend.send(reply_with_length())
        client.expect(reply_with_length(), "another's reply")


def stop(connection: Connection, how: Stop) -> None:
    """End the own stream, or break the connection off when what was sent has arrived."""
    if how == "ends":
        with suppress(ContractViolation):  # the proxy may have ended the exchange by then
            connection.end()
    else:
        assert connection.wait_arrived(WITHIN_S)
        connection.reset()


def expect_gone(backend: Connection) -> None:
    assert processes.wait_until(lambda: is_gone(backend), WITHIN_S), "the backend's connection is open still"


def is_gone(connection: Connection) -> bool:
    other_end = sock_diag.find(connection.remote, connection.local)
    return other_end is None or other_end.inode == 0  # what is left of it is the kernel's alone


def begun(client: Connection, call: Call, request: bytes) -> Connection:
    """Send a request, and receive it at the backend."""
    client.send(request)
    backend = call.accept(client)
    backend.expect(request, "the request at the backend")
    return backend


def test_messages_are_split_anywhere__both_arrive_unchanged(
    impl: Implementation, flags: tuple[str, ...], relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(20)
    @given(st.integers(), sizes(), cuts(), st.sampled_from(["length", "interim", "end"]), sizes(), cuts())
    def attempt(
        seed: int, request_size: int, request_cuts: Cuts, kind: Framed, reply_size: int, reply_cuts: Cuts
    ) -> None:
        with relay.client() as (client, call):
            request = call.request(content(request_size, seed))
            with sending(client, request_cuts.pieces(request)):
                backend = call.accept(client)
                backend.expect(request, "the request at the backend", WITHIN_S)
            reply = reply_of(kind, content(reply_size, seed + 1))
            with sending(backend, reply_cuts.pieces(reply)):
                client.expect(reply, "the reply at the client", WITHIN_S)
            if kind == "end":
                backend.end()
            if kind == "end" or not relay.keepalive:
                client.expect_end("after the reply")
                expect_gone(backend)

    attempt()


def test_requests_are_pipelined__all_of_them_and_all_replies_arrive_in_order(
    impl: Implementation, relays: Relays
) -> None:
    relay = relays(impl, ("-k",))
    message = st.tuples(sizes(200_000), st.booleans())

    @trying(25)
    @given(st.integers(), st.lists(message, min_size=2, max_size=5), cuts(), cuts())
    def attempt(seed: int, messages: list[tuple[int, bool]], request_cuts: Cuts, reply_cuts: Cuts) -> None:
        with relay.client() as (client, call):
            requests = b"".join(call.request(content(size // 2, seed + i)) for i, (size, _) in enumerate(messages))
            replies = b"".join(
                reply_of("interim" if interim else "length", content(size, seed - i))
                for i, (size, interim) in enumerate(messages)
            )
            with sending(client, request_cuts.pieces(requests)):
                backend = call.accept(client)
                backend.expect(requests, "all requests at the backend", WITHIN_S)
            with sending(backend, reply_cuts.pieces(replies)):
                client.expect(replies, "all replies at the client", WITHIN_S)
            client.send(call.request())
            backend.expect(call.request(), "one more request on the same connection")
            client.close()
            backend.expect_end("when the client has closed")

    attempt()


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_a_backend_stops_within_its_reply__what_it_sent_arrives_and_then_the_end(
    impl: Implementation, flags: tuple[str, ...], how: Stop, relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(18)
    @given(
        st.integers(), sizes(), st.integers(0, 999_999), st.sampled_from(["length", "interim", "end"]), st.booleans()
    )
    def attempt(seed: int, size: int, cut: int, kind: Framed, at_once: bool) -> None:  # noqa: FBT001  drawn
        with relay.client() as (client, call), ExitStack() as stack:
            backend = begun(client, call, call.request())
            reply = reply_of(kind, content(min(size, IN_ONE_BATCH_BYTES) if at_once else size, seed))
            sent = reply[: max(1, len(reply) * cut // 1_000_000)]
            if at_once:
                with held(relay.worker_pid):
                    backend.send(sent)
                    stop(backend, how)
            else:
                stack.enter_context(sending(backend, [(sent, True)]))
            client.expect(sent, "what the backend sent before it stopped", WITHIN_S)
            if not at_once:
                stack.close()
                stop(backend, how)
            client.expect_end("when the backend has stopped")
        serve(relay)

    attempt()


@pytest.mark.parametrize("then", ["stays", "ends", "resets"])
def test_a_backend_answers_before_it_has_the_request__the_reply_arrives_whole(
    impl: Implementation, flags: tuple[str, ...], then: Then, relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(20)
    @given(st.integers(), sizes(), st.integers(0, 999_999), sizes(400_000), st.booleans())
    def attempt(seed: int, request_size: int, cut: int, size: int, reads_late: bool) -> None:  # noqa: FBT001  drawn
        with relay.client() as (client, call):
            request = call.request(content(request_size, seed))
            got = max(len(call.word), len(request) * cut // 1_000_000)
            reply = reply_with_length(content(size, seed + 1))

            def answer() -> None:
                backend.send(reply, WITHIN_S)
                if then != "stays":
                    stop(backend, then)
                elif relay.keepalive:
                    backend.expect(request, "the request, of which the rest comes after the reply", WITHIN_S)

            with meanwhile(client, partial(client.send, request[:got], WITHIN_S)):
                backend = call.accept(client)
                with meanwhile(backend, answer):
                    rest = partial(client.send, request[got:], WITHIN_S)
                    if reads_late:
                        rest()
                        client.expect(reply, "the reply, read when all of the request was sent", WITHIN_S)
                    else:
                        with meanwhile(client, rest):
                            client.expect(reply, "the reply, while the request was sent", WITHIN_S)
            if then == "stays" and relay.keepalive:
                client.send(call.request())
                backend.expect(call.request(), "one more request on the same connection")
                backend.send(reply_with_length())
                client.expect(reply_with_length(), "its reply")
            else:
                client.expect_end("after the reply")

    attempt()


@pytest.mark.parametrize("then", ["ends", "resets"])
def test_a_backend_answers_and_stops_while_the_worker_is_busy__the_reply_arrives_whole(
    impl: Implementation, flags: tuple[str, ...], then: Stop, relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(15)
    @given(st.integers(), st.integers(0, IN_ONE_BATCH_BYTES), st.integers(0, IN_ONE_BATCH_BYTES), st.booleans())
    def attempt(seed: int, size: int, more: int, more_first: bool) -> None:  # noqa: FBT001  drawn
        with relay.client() as (client, call):
            client.send(call.word)
            backend = call.accept(client)
            reply = reply_with_length(content(size, seed))
            rest = content(more, seed + 1)
            with held(relay.worker_pid):
                if more_first:
                    client.send(rest)
                backend.send(reply)
                stop(backend, then)
                if not more_first:
                    client.send(rest)
            client.expect(reply, "the reply, found together with the backend's end and more of the request", WITHIN_S)
            client.expect_end("after the reply")
        serve(relay)

    attempt()


def test_a_client_ends_its_stream_anywhere__the_backend_gets_what_came_before_and_the_client_its_reply(
    impl: Implementation, flags: tuple[str, ...], relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(18)
    @given(
        st.integers(),
        sizes(),
        st.integers(0, 1_000_000),
        cuts(),
        st.sampled_from(["length", "interim", "end"]),
        sizes(),
    )
    def attempt(seed: int, request_size: int, cut: int, where: Cuts, kind: Framed, size: int) -> None:
        with relay.client() as (client, call):
            request = call.request(content(request_size, seed))
            sent = request[: max(len(call.word), len(request) * cut // 1_000_000)]

            def ask() -> None:
                send(client, where.pieces(sent))
                client.end()

            with meanwhile(client, ask):
                backend = call.accept(client)
                backend.expect(sent, "what the client sent before it ended its stream", WITHIN_S)
            backend.expect_end("as the client has ended its stream")
            reply = reply_of(kind, content(size, seed + 1))

            def answer() -> None:
                send(backend, where.pieces(reply))
                stop(backend, "ends")

            with meanwhile(backend, answer):
                client.expect(reply, "the reply to a client that has ended its stream", WITHIN_S)
            client.expect_end("after the reply")

    attempt()


@pytest.mark.parametrize("stage", ["request", "between", "reply", "half-closed"])
def test_a_client_resets_anywhere__the_backend_connection_is_closed_and_others_are_served(
    impl: Implementation, flags: tuple[str, ...], stage: str, relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(10)
    @given(st.integers(), sizes(), sizes())
    def attempt(seed: int, request_size: int, size: int) -> None:
        with relay.client() as (client, call):
            request = call.request(content(request_size, seed))
            part = request[:-1] if stage == "request" else request
            with sending(client, [(part, False)]):
                backend = call.accept(client)
                backend.expect(part, "the request at the backend", WITHIN_S)
            if stage == "half-closed":
                client.end()
            if stage == "reply":
                reply = reply_with_length(content(size + 100, seed))
                with meanwhile(backend, partial(backend.send, reply[:-1], WITHIN_S), may_fail=True):
                    client.expect(reply[: size // 2], "a half of the reply", WITHIN_S)
                    client.reset()
                    serve(relay)
                    expect_gone(backend)
            else:
                client.reset()
                serve(relay)
                expect_gone(backend)

    attempt()


@pytest.mark.parametrize("how", ["ends", "resets"])
def test_a_backend_stops_without_a_reply__the_client_gets_a_502_although_it_sends_on(
    impl: Implementation, flags: tuple[str, ...], how: Stop, relays: Relays
) -> None:
    relay = relays(impl, flags)

    @trying(15)
    @given(st.integers(), sizes(), st.integers(0, 1_000_000))
    def attempt(seed: int, request_size: int, cut: int) -> None:
        with relay.client() as (client, call):
            request = call.request(content(request_size, seed))
            got = max(len(call.word), len(request) * cut // 1_000_000)
            with sending(client, [(request, False)]):
                backend = call.accept(client)
                backend.receive(got, "a part of the request", WITHIN_S)
                stop(backend, how)
                reply = client.receive_reply("a 502, as the backend has stopped without a reply", WITHIN_S)
            assert reply.status == "502"
            client.expect_end("after the 502")

    attempt()
