"""The fault table of DESIGN.md says what the tests say."""

from pathlib import Path

import pytest

from tests.faults.table import BEGIN, DESIGN, END, BadTableError, Row, rows, with_table

FAULTS = Path(__file__).parent / "faults"


def test_design_has_the_table_that_the_names_make() -> None:
    text = DESIGN.read_text(encoding="utf-8")
    assert text == with_table(text, rows(FAULTS)), "DESIGN.md is behind the tests' names: run `make faults`"


def test_every_file_of_tests_in_faults_is_in_the_table() -> None:
    collected = {file.name for file in FAULTS.rglob("*.py") if "def test_" in file.read_text(encoding="utf-8")}
    assert collected == {row.file for row in rows(FAULTS)}


def test_a_name_becomes_a_row(tmp_path: Path) -> None:
    (tmp_path / "test_b.py").write_text("def test_no_cpu__it_waits(impl): ...\n")
    (tmp_path / "test_a.py").write_text(
        "class TestOfLogs:\n    async def test_a_full_disk__costs_lines(self): ...\n"
        "def test_sighup__reopens_the_log(): ...\ndef helper(): ...\n"
    )
    assert rows(tmp_path) == [
        Row("a full disk", "costs lines", "test_a.py", per_implementation=False),
        Row("SIGHUP", "reopens the log", "test_a.py", per_implementation=False),
        Row("no CPU", "it waits", "test_b.py", per_implementation=True),
    ]
    assert str(rows(tmp_path)[2]) == "| no CPU | it waits | `test_b.py`, each implementation |"


@pytest.mark.parametrize("name", ["test_one_part", "test_a__b__c", "test___promise", "test_fault__", "test_a___"])
def test_a_name_that_has_not_two_parts_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    (tmp_path / "test_a.py").write_text(f"\ndef {name}() -> None: ...\n")
    with pytest.raises(BadTableError, match=f"^test_a.py:2: {name}: "):
        rows(tmp_path)


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}{END}{END}"])
def test_a_text_without_one_place_for_the_table_is_refused(text: str) -> None:
    with pytest.raises(BadTableError):
        with_table(text, [])


def test_only_what_is_between_the_marks_is_replaced() -> None:
    text = with_table(f"before\n{BEGIN}\nold\n{END}\nafter\n", [Row("a", "b", "c", per_implementation=False)])
    assert text.startswith(f"before\n{BEGIN}\n| fault |")
    assert text.endswith(f"\n| a | b | `c` |\n{END}\nafter\n")
    assert "old" not in text
