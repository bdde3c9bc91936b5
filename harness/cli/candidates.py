"""What may be typed next: values that completion offers. Whatever is not there, or cannot be read, offers nothing."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import click
import msgspec
from click.shell_completion import CompletionItem

from harness import plain_file, strict_json
from harness.errors import BadInput
from harness.options import next_in_list
from harness.peers import PEERS
from harness.registry import own
from harness.schema import Plan
from harness.variants import PARTS

RUNS = Path("results")
"""Where runs are looked for, unless another folder is begun."""

PLANS = Path("plans")
DEVICES = Path("/sys/class/net")
_HARMLESS = re.compile(r"[\w./+@:=-]+")
"""Others may have named what is offered, and a shell takes blanks and stars for something else."""
_PLAN = "plan.json"
"""``results.PLAN``, which takes numpy to import."""
_LARGEST_BYTES = 2**20
Items = list[CompletionItem[str]]


def implementations(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer names of implementations and peers, and behind a name and ``+`` its variants; lists have commas."""
    last = incomplete.rpartition(",")[2]
    name, plus, _ = last.rpartition("+")
    if plus:
        return next_in_list([f"{name}+{part}" for part in PARTS if part not in name.split("+")], incomplete)
    alone = [] if "," in incomplete else ["all", "none"]
    return next_in_list([*(one.name for one in own()), *PEERS, *alone], incomplete)


def implementation(context: click.Context, parameter: click.Parameter, incomplete: str) -> Items:
    """Offer one name."""
    return [] if "," in incomplete else implementations(context, parameter, incomplete)


def runs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer folders of stored runs, the newest first; where there is none of these, any folder."""
    places = dict.fromkeys((RUNS, Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent))
    found = _offer((str(run) for place in places for run in _runs_in(place)), incomplete)
    return found or [CompletionItem(incomplete, type="dir")]


def cells(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the cells of the run that is named before."""
    plan = _plan(context)
    return _offer((cell.key for cell in plan.cells), incomplete) if plan else []


def measured(context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer what took part in the run that is named before."""
    plan = _plan(context)
    return _offer((one.name for one in plan.implementations), incomplete) if plan else []


def plans(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the plans that are shipped; where there is none of these, any file."""
    return _offer(map(str, sorted(PLANS.glob("*.toml"))), incomplete) or [CompletionItem(incomplete, type="file")]


def obligations(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer the ids of the contract."""
    from harness.conformance import CASES

    return _offer(dict.fromkeys(case.id for case in CASES), incomplete)


def devices(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> Items:
    """Offer network devices, but for loopback."""
    return _offer(sorted(path.name for path in DEVICES.glob("*") if path.name != "lo"), incomplete)


def _offer(texts: Iterable[str], incomplete: str) -> Items:
    return [CompletionItem(text) for text in texts if text.startswith(incomplete) and _HARMLESS.fullmatch(text)]


def _runs_in(place: Path) -> Iterator[Path]:
    try:
        yield from sorted((path.parent for path in place.glob(f"*/{_PLAN}")), reverse=True)
    except OSError:
        return


def _plan(context: click.Context) -> Plan | None:
    """Read the plan of the first run that a command line has."""
    # Behind an option that waits for its value click has left arguments as they are.
    named = context.params.get("run") or context.params.get("old") or next(iter(context.args), "")
    try:
        return strict_json.decode(plain_file.read(Path(named) / _PLAN, _LARGEST_BYTES), msgspec.json.Decoder(Plan))
    except (BadInput, OSError, ValueError):
        return None
