"""Which implementations there are, and how each is started: an argument vector is all that the harness knows."""

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness import variants
from harness.errors import BadInput
from harness.peers import PEERS, Peer
from harness.schema import WORKLOADS, Workload
from harness.variants import DEFAULT, PLAIN, Axes, Variant

ROOT = Path(__file__).resolve().parents[1]
"""The folder that holds ``harness`` and ``impls``."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Implementation:
    """A server under comparison."""

    name: str
    argv: tuple[str, ...]
    """What starts it; the flags of CONTRACT.md follow."""
    cwd: Path | None
    """Where it is started; None stands for the harness's own folder."""
    external: bool
    workloads: tuple[Workload, ...] = WORKLOADS
    """Those it takes part in."""
    obligations: tuple[str, ...] | None = None
    """Ids of what the contract asks of it; None stands for all."""
    variant: Variant = PLAIN
    """What name and argv have it in already."""


def own() -> list[Implementation]:
    """List the folders of ``impls`` that can be run, by name."""
    names = sorted(main.parent.name for main in (ROOT / "impls").glob("*/__main__.py"))
    return [Implementation(name, (sys.executable, "-m", f"impls.{name}"), ROOT, external=False) for name in names]


def peer(name: str) -> Implementation:
    """Return a peer, whether it is installed or not."""
    one: Peer = PEERS[name]
    argv = (sys.executable, "-m", f"harness.peers.{name}")
    return Implementation(name, argv, ROOT, external=False, workloads=one.workloads, obligations=one.obligations)


def find(
    names: str, externals: Sequence[str] = (), option: str = "--impls", axes: Axes | None = None
) -> list[Implementation]:
    """Find implementations by name, in the order given, each in all variants of ``axes``, side by side.

    ``names`` is ``all``, which are our own, ``none``, or names of our own and of peers, with commas between them;
    ``NAME+percpu+lean`` (and ``all+lean``) is a variant (``variants.py``). An external is ``NAME=COMMAND``.
    Raises BadInput for an unknown name, a peer that is not installed or has no such variant, an external that cannot be
    run, a name that comes twice, a variant that is an axis too, and none at all; ``option`` is where the user gave the
    names.
    """
    axes = axes or Axes()
    found = [*_find_named(names, option, axes), *(one for text in externals for one in _external(text, axes))]
    if not found:
        raise BadInput(f"{option} {names!r}: nothing to run; name an implementation, or give --external NAME='COMMAND'")
    seen: set[str] = set()
    for implementation in found:
        if implementation.name in seen:
            raise BadInput(f"{implementation.name}: the name is given twice; each needs a name of its own")
        seen.add(implementation.name)
    return found


def _find_named(names: str, option: str, axes: Axes) -> list[Implementation]:
    known = {implementation.name: implementation for implementation in own()}
    if names == "none":
        return []
    found: list[Implementation] = []
    for wanted in map(str.strip, names.split(",")):
        shown = f"{option} {wanted!r}"
        try:
            name, variant = variants.split(wanted)
        except BadInput as error:
            raise BadInput(f"{option} {error}") from None
        if name not in {*known, *PEERS, "all"}:
            there_are = ", ".join([*known, *PEERS])
            raise BadInput(
                f"{shown}: unknown; there are {there_are}, each as NAME+percpu+lean too, 'all' (without "
                f"{' and '.join(PEERS)}) and 'none'"
            )
        if name in PEERS:
            PEERS[name].find()
            chosen = [peer(name)]
            if variant.listen_mode != DEFAULT:
                raise BadInput(f"{shown}: {name} has no listen modes; leave +{variant.listen_mode} out")
        else:
            chosen = list(known.values()) if name == "all" else [known[name]]
        variants_of_it = list(axes.variants(shown, variant, has_listen_modes=name not in PEERS))
        found += [vary(one, each) for one in chosen for each in variants_of_it]
    return found


def is_name(text: str) -> bool:
    """Tell whether an implementation may be called this: files are named after it."""
    return _NAME.fullmatch(text) is not None


def vary(plain: Implementation, variant: Variant) -> Implementation:
    """Return a variant of an implementation."""
    return replace(plain, name=plain.name + variant.suffix, argv=(*plain.argv, *variant.flags), variant=variant)


def _external(text: str, axes: Axes) -> list[Implementation]:
    name, equals, command = text.partition("=")
    if not equals or not is_name(name):
        raise BadInput(
            f"--external {text!r}: give NAME='COMMAND', the name of 1 to 100 letters, digits, '_', '.' and '-'"
        )
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise BadInput(f"--external {text!r}: the command cannot be split as a shell would: {error}") from None
    if not argv:
        raise BadInput(f"--external {text!r}: the command is empty; give NAME='COMMAND'")
    if shutil.which(argv[0]) is None:
        raise BadInput(f"--external {text!r}: no program {argv[0]!r} that can be run; give its path")
    plain = Implementation(name, tuple(argv), None, external=True)
    return [vary(plain, variant) for variant in axes.variants(name, PLAIN)]
