"""Where a reply ends must not depend on how the network cut it."""

import itertools
import time
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impls.framing import ReplyFraming, RequestFraming, is_one_reply, is_whole_request

FRAMED = b"HTTP/1.1 200 OK\r\ncontent-LENGTH:  5 \r\nServer: x\r\n\r\nhello"
EMPTY = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
UNFRAMED = {
    "no length": b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\nbody",
    "chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length no number": b"HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
    "not HTTP": b"+PONG\r\n\r\n",
    "length in a later line only": b"HTTP/1.1 200 OK\r\n\r\n\r\nContent-Length: 1\r\n\r\nx",
}

BARE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POSTED = b"POST /x HTTP/1.1\r\nHost: x\r\ncontent-length: 5\r\n\r\nhello"
UNTOLD = {
    "chunked": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a bare one with a body": b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "not HTTP": b"\x00\x01\r\n\r\n",
    "a lower-case method": b"get / HTTP/1.0\r\n\r\n",
}


def feed_in_pieces(stream: bytes, cuts: list[int]) -> tuple[int, ReplyFraming]:
    framing = ReplyFraming()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    completed = sum(framing.feed(stream[a:b]) for a, b in itertools.pairwise(bounds) if b > a)
    return completed, framing


@given(
    replies=st.lists(st.sampled_from([FRAMED, EMPTY, NO_CONTENT, INTERIM + FRAMED]), max_size=5),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_counts_each_complete_reply_however_it_is_cut(replies: list[bytes], cuts: list[int]) -> None:
    completed, framing = feed_in_pieces(b"".join(replies), cuts)
    assert completed == len(replies)
    assert framing.between
    assert not framing.end()


@given(
    stream=st.sampled_from([FRAMED, EMPTY, INTERIM + FRAMED]),
    missing=st.integers(1, len(EMPTY) - 1),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_a_reply_cut_short_is_not_complete(stream: bytes, missing: int, cuts: list[int]) -> None:
    completed, framing = feed_in_pieces(stream[:-missing], cuts)
    assert completed == 0
    assert not framing.between
    assert not framing.end()


@pytest.mark.parametrize("stream", UNFRAMED.values(), ids=UNFRAMED.keys())
@given(cuts=st.lists(st.integers(0, 10_000), max_size=8))
def test_without_a_length_the_end_of_the_stream_completes_it(stream: bytes, cuts: list[int]) -> None:
    completed, framing = feed_in_pieces(stream, cuts)
    assert completed == 0
    assert framing.end()


def test_a_head_that_never_ends_is_not_kept() -> None:
    framing = ReplyFraming()
    for _ in range(40):
        framing.feed(b"HTTP/1.0 200 OK\r\nX: " + b"x" * 4096)
    assert framing.end()


def test_before_the_first_byte_nothing_has_begun() -> None:
    framing = ReplyFraming()
    assert framing.between
    assert not framing.end()


@pytest.mark.parametrize("reply", [FRAMED, EMPTY, FRAMED.replace(b"200", b"404"), FRAMED.replace(b"200 OK", b"503")])
def test_one_whole_reply_is_told_at_once(reply: bytes) -> None:
    assert is_one_reply(reply)


@pytest.mark.parametrize(
    "data",
    [
        *UNFRAMED.values(),
        FRAMED.replace(b"HTTP", b"http"),
        NO_CONTENT,
        INTERIM,
        INTERIM + FRAMED,
        FRAMED + FRAMED,
        FRAMED[:-1],
        FRAMED + b"x",
        b"",
    ],
)
def test_what_is_not_one_whole_reply_is_not_taken_for_one(data: bytes) -> None:
    assert not is_one_reply(data)


@given(
    st.lists(
        st.sampled_from(
            [
                b"HTTP/1.1 200 OK",
                b"HTTP/1.1 304 x",
                b"Content-Length: 2",
                b"content-length : 2",
                b"A: b",
                b"\r\n",
                b"ab",
            ]
        ),
        max_size=8,
    ).map(b"\r\n".join)
)
def test_one_whole_reply_is_one_for_the_framing_too(data: bytes) -> None:
    framing = ReplyFraming()
    completed = framing.feed(data)
    assert not is_one_reply(data) or (completed == 1 and framing.between)


@given(
    requests=st.lists(st.sampled_from([BARE, POSTED]), max_size=5),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_a_request_owes_one_reply_however_it_is_cut(requests: list[bytes], cuts: list[int]) -> None:
    stream, framing = b"".join(requests), RequestFraming()
    bounds = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for begin, end in itertools.pairwise(bounds):
        framing.feed(stream[begin:end])
    assert framing.unanswered == len(requests)
    assert framing.whole
    framing.answered(len(requests))
    assert framing.unanswered == 0


@pytest.mark.parametrize("request_", [BARE, POSTED], ids=["bare", "posted"])
def test_a_request_is_whole_at_its_last_byte_and_never_before(request_: bytes) -> None:
    for length in range(1, len(request_)):
        framing = RequestFraming()
        framing.feed(request_[:length])
        framing.answered(1)
        assert not is_whole_request(request_[:length])
        assert not framing.whole
        framing.feed(request_[length:])
        assert framing.unanswered == 0, "the rest of an answered request owes nothing"
        assert framing.whole
    assert is_whole_request(request_)


@pytest.mark.parametrize("name", UNTOLD)
def test_what_does_not_tell_its_end_may_go_on_and_owes_one_reply(name: str) -> None:
    framing = RequestFraming()
    for _ in range(3):
        framing.feed(UNTOLD[name])
        assert not framing.whole
        assert framing.unanswered == 1
    assert not is_whole_request(UNTOLD[name])


def test_a_head_in_two_pieces_may_be_followed_by_much_body() -> None:
    framing = RequestFraming()
    framing.feed(b"PUT / HTTP/1.1\r\nContent-")
    framing.feed(b"Length: 200000\r\n\r\n" + bytes(150_000))
    framing.answered(1)
    framing.feed(bytes(50_000))
    assert framing.whole
    assert framing.unanswered == 0


Framing = type[ReplyFraming] | type[RequestFraming]


def cost_s(framing: Framing, pieces: Sequence[bytes], times: int) -> float:
    """Tell what it costs to follow so many streams that come in these pieces, in seconds of CPU."""
    began_s = time.process_time()
    for _ in range(times):
        feed = framing().feed
        for piece in pieces:
            feed(piece)
    return time.process_time() - began_s


def costs_no_more_than(factor: float, framing: Framing, whole: Sequence[bytes], part: Sequence[bytes]) -> bool:
    """Compare a long stream with as much in short ones, one right after the other.

    What else the machine does can make the long one dearer, but hardly five times in a row; if its cost grew as the
    square of its length, it would be tens of times as much.
    """
    times = sum(map(len, whole)) // sum(map(len, part))
    return any(cost_s(framing, whole, 1) < factor * cost_s(framing, part, times) for _ in range(5))


@pytest.mark.parametrize(
    ("framing", "begin"),
    [(ReplyFraming, b"HTTP/1.1 200 OK\r\nX: "), (RequestFraming, b"POST / HTTP/1.1\r\nX: ")],
)
def test_a_long_head_byte_by_byte_costs_no_more_than_as_many_bytes_in_short_ones(
    framing: Framing, begin: bytes
) -> None:
    short = [bytes([byte]) for byte in begin + b"x" * (1000 - len(begin))]
    assert costs_no_more_than(4, framing, short * 60, short)


@pytest.mark.parametrize(
    ("framing", "message"), [(RequestFraming, b"A \r\n\r\n"), (ReplyFraming, INTERIM), (ReplyFraming, NO_CONTENT)]
)
def test_many_short_messages_in_one_read_cost_no_more_than_in_many(framing: Framing, message: bytes) -> None:
    few = message * 500
    assert costs_no_more_than(2.5, framing, [few * 100], [few])


def test_a_request_head_without_end_is_no_longer_kept() -> None:
    framing = RequestFraming()
    for _ in range(100):
        framing.feed(b"GET /" + b"x" * 65_531)
        assert not framing.whole
        assert framing.unanswered == 1
    assert len(framing._head) == 0
