"""What is fuzzed: everything of percore that parses what others wrote."""

import json
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any, Final
from unittest import mock

import click
import msgspec

from harness import histogram_log, strict_json
from harness.analysis import strace
from harness.cli.compare import compare
from harness.conformance.reply import Reply, head_length
from harness.conformance.violation import ContractViolation
from harness.environment_schema import Environment
from harness.errors import BadInput
from harness.loadgen import GeneratorFailed
from harness.loadgen.control import _outcome
from harness.loadgen.messages import Measured, Times, frame, read_payload
from harness.loadgen.witnesses import Ab, Witness, Wrk
from harness.loadgen.witnesses.base import Printed
from harness.plan_file import PlanFile, keys
from harness.registry import ROOT, find
from harness.schema import Plan, Slice, Summary
from harness.testbed import cpus
from impls import addresses, flags
from impls.framing import RequestFraming, is_one_reply, is_whole_request
from tests import run_folders
from tests.faults.test_input_framing import TOKENS, Ending, read_in_pieces, read_plainly
from tests.faults.test_input_texts import FLAGS, JOB, OPTIONS, PIECES, check, numeric_alone
from tests.fuzz.guided import Target

_TEXT_TOKENS = [piece.encode(errors="surrogateescape") for piece in PIECES if len(piece) < 400]
_JSON_TOKENS = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"NaN",
    b"9" * 400,
    b"\\ud800",
    b"\xff",
]
_TOML_TOKENS = [
    *(b"=", b"\n", b"#", b'"', b"'", b'"""', b"'''", b"[", b"]", b"{", b"}", b".", b"true", b"nan", b"1e400", b"\r\n")
]
_LONGEST_BY_BYTES = 400
"""Longer inputs would take most of the time, byte by byte."""
_FILES: Final = run_folders.of_schema_2()


def _framing(data: bytes) -> None:
    cuts, stream = list(data[:3]), data[3:_LONGEST_BY_BYTES]
    expected = read_plainly(stream)
    assert read_in_pieces(stream, cuts) == expected
    assert read_in_pieces(stream, range(len(stream))) == expected
    assert not is_one_reply(stream) or expected == Ending(1, until_end=False, between=True)


def _requests(data: bytes) -> None:
    data = data[:_LONGEST_BY_BYTES]
    whole, pieces = RequestFraming(), RequestFraming()
    whole.feed(data)
    for at in range(len(data)):
        pieces.feed(data[at : at + 1])
    assert (whole.whole, min(whole.unanswered, 1)) == (pieces.whole, min(pieces.unanswered, 1))
    assert not data or is_whole_request(data) == pieces.whole


def _flags(data: bytes) -> None:
    argv = data.decode(errors="surrogateescape").split("\x01")
    with (
        mock.patch.object(socket, "getaddrinfo", numeric_alone),
        mock.patch.object(flags, "say") as say,
        mock.patch.object(sys, "stdout", StringIO()),
    ):
        try:
            check(flags.parse(argv, "x", "y", exclusive=False))
        except SystemExit as end:
            assert (end.code or 0, say.call_count) in {(0, 0), (2, 1)}, argv  # noqa: PT017  the other way out is as good


def _address(data: bytes) -> None:
    with mock.patch.object(socket, "getaddrinfo", numeric_alone), suppress(ValueError):
        found = addresses.resolve(data.decode(errors="surrogateescape"))
        assert addresses.resolve(str(found)) == found


def _options(data: bytes) -> None:
    text = data.decode(errors="surrogateescape")
    for kind, is_right in OPTIONS.values():
        with suppress(click.BadParameter):
            assert is_right(kind.convert(text, None, None))
    with suppress(ValueError):
        assert cpus.parse(cpus.write(cpus.parse(text))) == cpus.parse(text)


def _names(data: bytes) -> None:
    names, *externals = data.decode(errors="surrogateescape").split("\x01")
    with suppress(BadInput):
        assert find(names, externals)


def _plan_file(data: bytes) -> None:
    context = compare.make_context("compare", [])
    with suppress(BadInput):
        found = PlanFile.parse(Path("x.toml"), data, context)
        assert found.values.keys() == found.lines.keys() <= keys(compare).keys()
        assert all(1 <= line <= data.count(b"\n") + 1 for line in found.lines.values())


def _json(kind: type[Any]) -> Callable[[bytes], None]:
    decoder = msgspec.json.Decoder(kind)

    def parse(data: bytes) -> None:
        with suppress(ValueError):
            value = strict_json.decode(data, decoder)
            assert strict_json.decode(msgspec.json.encode(value), decoder) == value

    return parse


def _histogram(data: bytes) -> None:
    with suppress(ValueError):
        found = histogram_log.parse(data.decode())
        if found is not None:
            key, histogram = found
            histogram.percentiles_us()
            again = histogram_log.parse(histogram_log.lines({key: histogram}, 0.0, 1.0).rstrip("\n") or "#")
            assert again is None or (again[0], again[1].total) == (key, histogram.total)


def _witness(witness: type[Witness]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        stdout, _, quantiles = data.decode(errors="replace").partition("\x01")
        with suppress(GeneratorFailed):
            witness.read(JOB, Printed(0, stdout, "", quantiles))

    return read


def _strace(data: bytes) -> None:
    with suppress(ValueError):
        strace.returned(data.decode(errors="replace"))


def _reply(data: bytes) -> None:
    if head_length(data):
        with suppress(ContractViolation):
            assert Reply.parse(data, "a reply").raw == data


def _message(data: bytes) -> None:
    rest = [data]

    def read(size: int) -> bytes:
        taken, rest[0] = rest[0][:size], rest[0][size:]
        return taken

    with suppress(ValueError, msgspec.DecodeError):
        payload = read_payload(read)
        message = None if payload is None else msgspec.msgpack.decode(payload, type=Times | Measured)
        if isinstance(message, Times):
            _outcome(Measured(started_ns=0, ended_ns=1, cpu_ns=0, errors={}), [message])


_AB: Final = (
    b"Document Length:        5 bytes\nComplete requests:      9\nFailed requests:        1\n"
    b"   (Connect: 0, Receive: 0, Length: 1, Exceptions: 0)\nKeep-Alive requests:    9\n"
    b"Requests per second:    7.5 [#/sec] (mean)\n\x01Percentage served,Time in ms\n0,1.5\n1,2.5\n"
)
_WRK: Final = (
    b'{"requests":9,"duration_us":99,"bytes":675,"connect":0,"read":0,"write":0,"status":0,"timeout":0,'
    b'"quantiles_us":[1,2]}'
)

TARGETS: Final = {
    target.name: target
    for target in (
        Target("replies", _framing, ["impls/framing.py"], [b"\x00\x00\x00" + b"".join(TOKENS[:6])], TOKENS),
        Target(
            *("requests", _requests, ["impls/framing.py"]),
            [b"GET / HTTP/1.0\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"],
            [*TOKENS, b"GET ", b"POST ", b"HEAD "],
        ),
        Target(
            *("flags", _flags, ["impls/flags.py", "impls/addresses.py", "impls/cpus.py"]),
            [b"-w\x011\x01-a\x01127.0.0.1:80\x01[::1]:80\x01-k", b"--listen\x01percpu"],
            [*(flag.encode() for flag in FLAGS), *_TEXT_TOKENS, b"\x01"],
        ),
        Target("addresses", _address, ["impls/addresses.py"], [b"127.0.0.1:80", b"[::1]:80"], _TEXT_TOKENS),
        Target(
            "options", _options, ["harness/options.py", "testbed/cpus.py"], [b"5%", b"0-3,5", b"1.5m"], _TEXT_TOKENS
        ),
        Target(
            "names",
            _names,
            ["harness/registry.py", "harness/variants.py"],
            [b"all", b"uvloop,trio+lean\x01a=true x", b"gevent+percpu+lean"],
            [*_TEXT_TOKENS, b"\x01"],
        ),
        Target(
            *("plan files", _plan_file, ["harness/plan_file.py", "harness/toml_lines.py"]),
            [path.read_bytes() for path in sorted((ROOT / "plans").glob("*.toml"))],
            [*_TOML_TOKENS, *_TEXT_TOKENS, *(f"\n{key} = ".encode() for key in keys(compare))],
        ),
        *(
            Target(
                f"json {kind.__name__}",
                _json(kind),
                ["harness/strict_json.py", "harness/schema.py"],
                [seed],
                _JSON_TOKENS,
            )
            for kind, seed in (
                (Plan, _FILES["plan.json"]),
                (Slice, _FILES["slices.jsonl"].splitlines()[0]),
                (Summary, json.dumps({"reference": "a", "cells": []}).encode()),
                (Environment, _FILES["environment.json"]),
            )
        ),
        Target(
            *("histograms", _histogram, ["harness/histogram_log.py", "analysis/latency.py", "hdrh/codec.py"]),
            _FILES["histograms.hlog"].splitlines(),
            [b",", b"Tag=", b"/", b"@connect", b"="],
        ),
        Target(
            *("ab", _witness(Ab), ["witnesses/ab.py", "witnesses/base.py"]),
            [_AB],
            [
                b"9" * 400,
                b"0.0",
                b"...",
                b"-1",
                b"inf",
                b"nan",
                b"\n",
                b"Non-2xx responses:      1\n",
                b"Write errors:  1\n",
            ],
        ),
        Target(
            *("wrk", _witness(Wrk), ["witnesses/wrk.py", "witnesses/base.py"]),
            [_WRK],
            _JSON_TOKENS,
        ),
        Target("strace", _strace, ["analysis/strace.py"], [b"1 read(3) = 0\n", b"<... a resumed>) = ? \n--- X\n"]),
        Target(
            "checked reply",
            _reply,
            ["conformance/reply.py"],
            [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nab"],
            TOKENS,
        ),
        Target(
            *("generator", _message, ["loadgen/messages.py", "loadgen/control.py"]),
            [
                frame(Times(completed_ns=bytes(16), latency_ns=bytes(16), late_ns=bytes(8))),
                frame(Measured(started_ns=1, ended_ns=2, cpu_ns=1, errors={"timeout": 1})),
            ],
            [b"\xff" * 8, b"\x00" * 7, b"\xcf", b"\xdf", b"\xc6"],
        ),
    )
}
