"""The page of runs in a real browser: it loads nothing, fits its window, can be read, and takes no name for markup."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from harness import folded, histogram_log, results
from harness.analysis import scalability, stacks
from harness.analysis.comparison import compare
from harness.environment_schema import Environment
from harness.schema import Plan, PlannedCell, Slice, Summary
from tests.commands import run
from tests.simulated import Server, cell, latencies, measure, planned
from tests.test_plots import profile
from tests.test_scaling import BENT, PLAIN, plan_for, slices_of

HOSTILE = "<img src=x onerror=alert(1)>\"'&</script></svg>"
LONGEST_MS = 120_000
"""Other tests have the CPUs as well."""
WIDE, NARROW = 1400, 360
LEAST_CONTRAST = 4.5
"""Of small text (WCAG 2.1, success criterion 1.4.3)."""
SERVERS = {"epoll_raw": Server(4000), HOSTILE: Server(2000), "trio": Server(1990)}
STACKS = Counter({("python", "send", "tcp_sendmsg_[k]"): 60, ("python", HOSTILE): 39, ("interrupts", "softirq_[k]"): 1})

# What every element shows of text, with its colour, and the background that is behind it.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b]
    .map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = rgb(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data).join("").trim();
    if (!text || !element.checkVisibility() || !element.getClientRects().length) continue;
    if (["SCRIPT", "STYLE", "NOSCRIPT"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), isSvg = element.namespaceURI.endsWith("svg");
    if (isSvg && !["text", "tspan"].includes(element.tagName)) continue;
    const light = [luminance(rgb(isSvg ? style.fill : style.color)), luminance(behind(element))].sort((a, b) => b - a);
    found.push([text.slice(0, 60), (light[0] + 0.05) / (light[1] + 0.05)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser(tool: Callable[[str, str], str]) -> Iterator[Browser]:
    """Start one for all tests."""
    path = tool("chromium", "chromium")
    with sync_playwright() as playwright:
        # As root it has no sandbox; what it opens is our own.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"], timeout=LONGEST_MS)
        try:
            yield started
        finally:
            started.close()


@pytest.fixture(scope="module")
def summary() -> Summary:
    """Return what is claimed of the first run of the page."""
    return compare(*of_comparison(), latencies(of_comparison()[0], dict.fromkeys(SERVERS, 900.0)))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a page of a comparison, a run on scaling, and a profile."""
    folder = tmp_path_factory.mktemp("page")
    scales = plan_for([PLAIN], [1, 2, 4, 8])
    runs = [
        write_run(folder / "comparison", *of_comparison()),
        write_run(folder / "scaling", scales, list(slices_of(scales, {PLAIN: BENT}))),
        write_profile(folder / "profile"),
    ]
    out = folder / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scalability, "RESAMPLES", 99)
        said = run("report", *runs, "--html", "--out", out)
    assert (said.status, said.err) == (0, "")
    return out


def of_comparison() -> tuple[Plan, list[Slice]]:
    cells = (PlannedCell("short", 2, 100, server_cpus=(0, 1), generator_cpus=(2,)), cell("keepalive"))
    plan = planned(list(SERVERS), *cells)
    measured = measure(plan, SERVERS, rounds=8)
    return plan, [
        msgspec.structs.replace(
            one,
            started_ns=1 + one.round * 10**9 + one.position,
            block=one.round // 4,
            worker_accepted=[60, 40] if one.cell.startswith("short/w2") else [],
        )
        for one in measured
    ]


def write_run(folder: Path, plan: Plan, measured: Sequence[Slice]) -> Path:
    folder.mkdir()
    histograms = latencies(plan, {one.name: 900.0 for one in plan.implementations})
    (folder / results.PLAN).write_bytes(msgspec.json.encode(plan))
    (folder / results.ENVIRONMENT).write_bytes(msgspec.json.encode(Environment()))
    (folder / results.SLICES).write_bytes(b"".join(msgspec.json.encode(piece) + b"\n" for piece in measured))
    lines = histogram_log.header(1.0) + histogram_log.lines(histograms, 0.0, 1.0)
    (folder / results.HISTOGRAMS).write_text(lines)
    return folder


def write_profile(folder: Path) -> Path:
    folder.mkdir()
    plan = msgspec.structs.replace(planned(["epoll_raw", HOSTILE]), command="profile")
    (folder / results.PLAN).write_bytes(msgspec.json.encode(plan))
    (folder / results.PROFILE).write_bytes(msgspec.json.encode(profile("epoll_raw", HOSTILE)))
    (folder / folded.FILE.format("epoll_raw")).write_text("".join(stacks.lines(STACKS)))
    return folder


class Opened:
    """The page, open, and all that it has asked for or complained of since."""

    def __init__(self, browser: Browser, file: Path, **options: Any) -> None:
        self.page = browser.new_page(viewport={"width": WIDE, "height": 900}, **options)
        self.page.set_default_timeout(LONGEST_MS)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", self._dialog)
        self.page.route("**/*", self._requested)
        self.url = file.as_uri()
        self.page.goto(self.url)

    def _dialog(self, dialog: Any) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _requested(self, route: Any) -> None:
        if route.request.url == self.url:
            route.continue_()
        else:
            self.requests.append(route.request.url)
            route.abort()


@pytest.fixture(scope="module")
def opened(browser: Browser, page_file: Path) -> Iterator[Opened]:
    """Open the page in a wide window with light colours."""
    found = Opened(browser, page_file, color_scheme="light")
    yield found
    found.page.close()


@pytest.fixture
def page(opened: Opened) -> Page:
    """Return the page as it is when it has just been opened."""
    opened.page.set_viewport_size({"width": WIDE, "height": 900})
    opened.page.emulate_media(media="screen", color_scheme="light")
    opened.page.reload()
    return opened.page


def drawings(page: Page) -> list[dict[str, float]]:
    """Return where all drawings that are shown are, those of the script too."""
    boxes: list[dict[str, float]] = page.evaluate(
        """() => [...document.querySelectorAll("figure svg, figure .flame .graph")]
             .filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect().toJSON())"""
    )
    return boxes


def test_it_asks_for_nothing_and_complains_of_nothing(opened: Opened, page: Page) -> None:
    page.locator("h1").wait_for()
    assert opened.complaints == []
    assert opened.requests == []
    for kind in ("ratio", "slices", "balance", "scaling", "speed-up", "core", "flame"):
        assert page.locator(f"figure svg[id*='-{kind}']").count() > 0, kind


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_all_plots_have_a_size_and_the_page_does_not_scroll_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    boxes = drawings(page)
    assert len(boxes) == page.locator("figure").count()
    assert all(box["width"] > 100 and box["height"] > 20 for box in boxes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    frames = page.evaluate(
        """() => [...document.querySelectorAll(".drawing, .scrolls, .flame, pre, p, h1, h2, h3, figcaption")]
             .filter((one) => one.checkVisibility()).map((one) => one.getBoundingClientRect())
             .filter((box) => box.left < 0 || box.right > window.innerWidth + 1).length"""
    )
    assert frames == 0, "what is wider scrolls by itself"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_what_is_behind_it(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator(".flame .search").first.fill("send")
    found = page.evaluate(CONTRASTS)
    assert len(found) > 200
    assert [one for one in found if one[1] < LEAST_CONTRAST] == []


def test_a_mark_tells_its_figures_when_pointed_at_and_by_the_keyboard(page: Page) -> None:
    drawing = page.locator("figure svg[id$='short-w2-c100-slices']")
    mark = drawing.locator("[aria-label*='requests/s']").first
    said = mark.get_attribute("aria-label") or ""
    assert said.startswith("epoll_raw, at 0.00 s: ")
    mark.scroll_into_view_if_needed()
    mark.hover()
    assert page.locator("#tip").text_content() == said
    page.mouse.move(0, 0)
    page.locator("#tip").wait_for(state="hidden")
    drawing.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").text_content() == said
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").text_content() != said
    page.keyboard.press("Escape")
    page.locator("#tip").wait_for(state="hidden")


def test_tables_have_the_figures_of_the_summary(page: Page, summary: Summary) -> None:
    ranked_by = {ranking.cell: ranking.by for ranking in summary.rankings}
    assert set(ranked_by.values()) == {"throughput", "cpu"}
    for entry in summary.cells:
        ratio = entry.ratio if ranked_by[entry.cell] == "throughput" else entry.cpu_ratio
        where = f"figure:has(svg[id$='{entry.cell.key.replace('/', '-')}-ratio'])"
        rows = page.locator(f"{where} tbody tr").all_text_contents()
        [row] = [one for one in rows if one.startswith(entry.impl)]
        assert entry.impl == summary.reference or f"{ratio.value:.3f}" in row


def test_a_name_stays_text_whatever_it_holds(opened: Opened, page: Page) -> None:
    assert page.locator("img").count() == 0
    assert page.locator("script:not(.frames)").count() == 1
    assert page.evaluate("document.body.textContent").count(HOSTILE) > 10
    page.locator(f".flame .graph button[aria-label^='{HOSTILE[:9]}']").hover()
    assert (page.locator(".flame .told").first.text_content() or "").startswith(f"{HOSTILE}: 39 samples")
    assert opened.complaints == []


def test_a_flame_graph_is_searched_and_zoomed(page: Page) -> None:
    flame = page.locator(".flame").first
    width = flame.locator(".graph").evaluate("one => one.clientWidth")
    flame.locator(".search").fill("SEND")
    assert flame.locator(".found").text_content() == "in 60.00 % of all samples"
    assert flame.locator("button.match").count() == 2
    send = flame.locator("button[aria-label^='send:']")
    assert send.evaluate("one => one.offsetWidth") == pytest.approx(0.6 * width, abs=2)
    send.click()
    assert send.evaluate("one => one.offsetWidth") == pytest.approx(width, abs=2)
    assert "100.00 % of send" in (flame.locator("button[aria-label^='tcp_sendmsg']").get_attribute("aria-label") or "")
    flame.locator(".reset").click()
    assert flame.locator(".search").input_value() == ""
    assert send.evaluate("one => one.offsetWidth") == pytest.approx(0.6 * width, abs=2)


def test_on_paper_it_has_all_plots_in_light_colours_and_still_ones_alone(page: Page) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    paper = 718  # A4 less its margins
    page.set_viewport_size({"width": paper, "height": 1000})
    boxes = drawings(page)
    assert len(boxes) == page.locator("figure").count()
    assert all(box["left"] >= 0 and box["right"] <= paper + 1 and box["height"] > 20 for box in boxes)
    assert page.locator(".flame").first.is_hidden()
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--page')").strip() == "#ffffff"
    assert page.pdf(print_background=True)[:5] == b"%PDF-"


def test_without_javascript_nothing_is_missing(browser: Browser, page_file: Path) -> None:
    opened = Opened(browser, page_file, java_script_enabled=False)
    figures = opened.page.locator("figure")
    assert figures.count() > 10
    for number in range(figures.count()):
        assert figures.nth(number).locator("svg").is_visible()
    assert opened.page.locator(".flame").first.is_hidden()
    details = opened.page.locator("figure details").first
    details.locator("summary").click()
    assert details.locator("table").is_visible()
    opened.page.close()
