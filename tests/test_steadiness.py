"""Noise is called noise, and only that."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from harness.analysis.series import Series, gather
from harness.analysis.steadiness import FEWEST_FOR_TREND, why_unsteady
from tests.simulated import Server, cell, measure, planned

SERVERS = {"reference": Server(20_000), "own": Server(18_000)}


def pair(
    *, rounds: int = 50, noise: float = 0.03, drift: float = 0.2, seed: int = 1, own: Sequence[float] = ()
) -> tuple[Series, Series]:
    """Measure both; ``own`` are factors of the own server's rate, one for each round."""
    plan = planned([*SERVERS])
    slices = [
        msgspec.structs.replace(piece, window_ns=int(piece.window_ns / own[piece.round]))
        if piece.impl == "own" and own
        else piece
        for piece in measure(plan, SERVERS, rounds=rounds, noise=noise, drift=drift, seed=seed)
    ]
    found = gather(plan, slices)
    return found[cell().key, "own", "load"], found[cell().key, "reference", "load"]


def steps(rounds: int, last: float) -> list[float]:
    return [1.0] * (rounds // 2) + [last] * (rounds - rounds // 2)


def test_a_machine_that_drifts_is_no_noise_where_both_drift() -> None:
    assert not any(why_unsteady(*pair(seed=seed, drift=0.5)) for seed in range(40))


@pytest.mark.parametrize(("last", "said"), [(1.2, "rose by "), (0.8, "fell by ")])
def test_a_trend_against_the_reference_is_told_with_its_direction(last: float, said: str) -> None:
    found = why_unsteady(*pair(own=steps(50, last)))
    assert found.startswith(f"the ratio to the reference {said}")
    assert found.endswith(" % from the first half of the rounds to the second")


def test_a_trend_that_is_small_or_not_shown_is_none() -> None:
    assert why_unsteady(*pair(own=steps(50, 1.03), noise=0.005)) == ""
    few = FEWEST_FOR_TREND - 1
    assert why_unsteady(*pair(own=steps(few, 1.1), rounds=few, noise=0.01)) == ""
    assert why_unsteady(*pair(own=steps(few + 1, 1.1), rounds=few + 1, noise=0.01)) != ""
    assert why_unsteady(*pair(own=steps(40, 1.06), rounds=40, noise=0.15)) == ""


def test_a_ratio_that_is_not_known_to_a_tenth_is_too_wide() -> None:
    found = why_unsteady(*pair(rounds=10, noise=0.3))
    assert found.startswith("the ratio to the reference is known to ± ")
    assert found.endswith(" % only, after 10 rounds")
    assert why_unsteady(*pair(rounds=200, noise=0.3)) == ""


def test_a_server_that_is_another_after_each_start_is_too_wide() -> None:
    """Rounds of one start are close together, so that only the blocks tell."""
    own, reference = pair(rounds=30, noise=0.01, own=[float(np.exp(0.2 * (n // 10 - 1))) for n in range(30)])
    blocks = {n: msgspec.structs.replace(piece, block=n // 10) for n, piece in own.slices.items()}
    assert "is known to ± " in why_unsteady(Series(blocks), reference)
    assert "is known to ± " not in why_unsteady(own, reference)


def test_without_a_reference_nothing_is_shown() -> None:
    own, reference = pair(noise=0.5)
    assert why_unsteady(own, Series({})) == ""
    assert why_unsteady(Series({}), reference) == ""
    assert why_unsteady(reference, reference) == ""
