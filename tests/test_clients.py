"""Programs that people really use as clients, against each implementation: no failed request, no hang."""

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from harness import ports
from harness.registry import Implementation, find
from harness.servers import Server

TIMEOUT_S = 60
REQUESTS = 3000
Tool = Callable[[str, str], str]


class Mode(NamedTuple):
    """What a server is asked to be."""

    proxy: bool
    keepalive: bool


MODES = {
    "server": Mode(proxy=False, keepalive=False),
    "server -k": Mode(proxy=False, keepalive=True),
    "proxy": Mode(proxy=True, keepalive=False),
    "proxy -k": Mode(proxy=True, keepalive=True),
}
in_every_mode = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)


@pytest.fixture
def url(impl: Implementation, mode: Mode, tmp_path: Path) -> Iterator[str]:
    """Run an implementation in a mode, with an epoll_raw backend where it is a proxy."""
    flags = ["-w", "1", *(["-k"] if mode.keepalive else [])]
    with ExitStack() as stack:

        def server(implementation: Implementation, flags: Sequence[str], name: str) -> str:
            address = stack.enter_context(ports.reserve("127.0.0.1"))
            stack.enter_context(Server(implementation, flags, [address], tmp_path, name)).wait_ready()
            return address

        if mode.proxy:
            [reference] = find("epoll_raw")
            flags += ["-x", server(reference, flags, "backend")]
        yield f"http://{server(impl, flags, 'server')}/"


def run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert result.returncode == 0, f"{command}: status {result.returncode}\n{result.stdout}{result.stderr}"
    return result.stdout + result.stderr


@in_every_mode
def test_curl_gets_the_page_twice(tool: Tool, url: str, mode: Mode) -> None:
    output = run(tool("curl", "curl"), "-sS", "-m", "10", "-w", "%{http_code} %{num_connects}\\n", url, url)
    assert output.count("<h1>200 OK</h1>") == 2
    assert re.findall(r"(\d+) (\d)\n", output) == [("200", "1"), ("200", "0" if mode.keepalive else "1")]


# With -k what one read returns is one message: a large request would get several replies.
@pytest.mark.parametrize("mode", [MODES["server"], MODES["proxy"]], ids=["server", "proxy"])
def test_curl_posts_a_megabyte(tool: Tool, url: str, tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(bytes(range(256)) * 4096)
    output = run(
        tool("curl", "curl"), "-sS", "-m", "10", "-H", "Expect:", "-w", "%{http_code}", "--data-binary", f"@{body}", url
    )
    assert "<h1>200 OK</h1>" in output
    assert output.endswith("200")


@in_every_mode
def test_ab_fails_no_request(tool: Tool, url: str, mode: Mode) -> None:
    flags = ["-k"] if mode.keepalive else []
    output = run(tool("ab", "apache2-utils"), "-q", *flags, "-n", str(REQUESTS), "-c", "50", "-s", "10", url)
    figures = dict(re.findall(r"^([A-Za-z0-9 -]+): +(\d+)", output, re.MULTILINE))
    assert figures["Complete requests"] == str(REQUESTS)
    assert figures["Failed requests"] == "0"
    assert "Non-2xx responses" not in figures
    assert figures.get("Keep-Alive requests", "0") == (str(REQUESTS) if mode.keepalive else "0")


@in_every_mode
def test_wrk_sees_no_error(tool: Tool, url: str) -> None:
    output = run(tool("wrk", "wrk"), "-t", "1", "-c", "20", "-d", "1s", "--timeout", "10s", url)
    requests = re.search(r"(\d+) requests in", output)
    assert requests, output
    assert int(requests[1]) > 0
    assert "Socket errors" not in output
    assert "Non-2xx" not in output
