"""Values on the command line: what they mean, and one line about those that mean nothing."""

import click
import pytest

from harness.options import Counts, Percentage, Ranges


@pytest.mark.parametrize(
    ("text", "share"), [("2%", 0.02), ("2", 0.02), (" 2.5 % ", 0.025), ("0.1%", 0.001), ("50", 0.5)]
)
def test_a_percentage_is_a_share(text: str, share: float) -> None:
    assert Percentage(0.1, 50).convert(text, None, None) == pytest.approx(share)


@pytest.mark.parametrize("text", ["", "%", "0", "0.09%", "50.1%", "-2%", "2%%", "2 per cent", "nan", "inf", "1e1", "²"])
def test_what_is_no_percentage_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        Percentage(0.1, 50).convert(text, None, None)
    assert refused.value.message == f"{text!r} is not a share from 0.1% to 50%, as in 2%"


def test_a_default_passes_through() -> None:
    assert Percentage(0.1, 50).convert(0.02, None, None) == 0.02


def test_where_one_number_is_wanted_a_list_is_none() -> None:
    assert Counts(1000, several=False).convert("6", None, None) == (6,)
    with pytest.raises(click.BadParameter, match="'6,7' is not a number from 1 to 1000"):
        Counts(1000, several=False).convert("6,7", None, None)


@pytest.mark.parametrize(
    ("text", "numbers"), [("3", (3,)), ("1..4", (1, 2, 3, 4)), ("8, 1,2..3 ,3", (1, 2, 3, 8)), ("5..5", (5,))]
)
def test_a_range_names_all_from_its_first_number_to_its_last(text: str, numbers: tuple[int, ...]) -> None:
    assert Ranges(4096).convert(text, None, None) == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4..1", "'4..1' counts downwards; give 1..4"),
        ("1..N", "'N' is not a number from 1 to 4096"),
        ("0..2", "'0' is not a number from 1 to 4096"),
        ("1..9999", "'9999' is not a number from 1 to 4096"),
        ("1...3", "'.3' is not a number from 1 to 4096"),
        ("..", "'' is not a number from 1 to 4096"),
    ],
)
def test_what_is_no_range_is_refused(text: str, said: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        Ranges(4096).convert(text, None, None)
    assert refused.value.message == said
