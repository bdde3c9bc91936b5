"""Where a reply ends must not depend on how the network cut it."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impls.framing import ReplyFraming, is_one_reply

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
