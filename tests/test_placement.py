"""Who runs on which CPU."""

from collections.abc import Sequence
from itertools import pairwise
from typing import get_args

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.options import CpuList
from harness.registry import ROOT
from harness.schema import Cell, PlannedCell, Workload
from harness.testbed import cpus
from harness.testbed.placement import Cpus, Packages, Siblings, place
from harness.testbed.points import place_together, usual_workers


def machine(cores: int, threads: int) -> Siblings:
    """Describe a machine that numbers the first hyper-threads of all cores first, as most do."""
    return {cpu: frozenset(range(cpu % cores, cores * threads, cores)) for cpu in range(cores * threads)}


def sides(placed: PlannedCell) -> tuple[tuple[int, ...], ...]:
    return placed.server_cpus, placed.generator_cpus, placed.backend_cpus


def test_two_cpus_short() -> None:
    placed = place(Cell("short", 1, 100), [0, 1])
    assert sides(placed) == ((0,), (1,), ())
    assert not placed.shared_cpus


def test_two_cpus_proxy_puts_backend_and_generator_together() -> None:
    placed = place(Cell("proxy", 1, 100), [0, 1])
    assert sides(placed) == ((0,), (1,), (1,))
    assert placed.shared_cpus == {1}


def test_without_a_cpu_left_the_last_is_shared() -> None:
    placed = place(Cell("short", 2, 100), [0, 1])
    assert placed.server_cpus == (0, 1)
    assert placed.shared_cpus == {1}


def test_only_allowed_cpus_in_order() -> None:
    placed = place(Cell("proxy", 2, 100), [9, 3, 5, 7, 1, 11])
    assert sides(placed) == ((1, 3), (5, 7), (9, 11))


def test_generators_are_as_many_as_the_workers_need() -> None:
    assert len(place(Cell("short", 1, 100), range(96)).generator_cpus) == 2
    assert len(place(Cell("short", 12, 1000), range(96)).generator_cpus) == 24
    assert len(place(Cell("short", 12, 3), range(96)).generator_cpus) == 3


def test_the_offered_rate_stays() -> None:
    assert place(Cell("short", 1, 100, 5000), [0, 1]).key == "short/w1/c100/r5000"


def test_too_many_workers() -> None:
    with pytest.raises(BadInput, match=r"--workers 3: .* give 2 or less"):
        place(Cell("short", 3, 100), [0, 1])


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        # Two cores, 0 with 2 and 1 with 3: the server's hyper-thread stays idle rather than slow it down.
        (Cell("short", 1, 100), ((0,), (1, 3), ())),
        (Cell("short", 2, 100), ((0, 2), (1, 3), ())),
        (Cell("short", 3, 100), ((0, 1, 2), (3,), ())),
        (Cell("short", 4, 100), ((0, 1, 2, 3), (3,), ())),
        (Cell("proxy", 1, 100), ((0,), (1,), (3,))),
        (Cell("proxy", 2, 100), ((0, 2), (1,), (3,))),
    ],
)
def test_two_cores_with_two_threads_each(cell: Cell, expected: tuple[tuple[int, ...], ...]) -> None:
    assert sides(place(cell, range(4), siblings=machine(2, 2))) == expected


def test_many_cores_with_two_threads_each() -> None:
    many = machine(48, 2)
    server, client, backend = sides(place(Cell("proxy", 12, 1000), range(96), siblings=many))
    assert server == tuple(range(12))
    cores = [{cpu % 48 for cpu in side} for side in (server, client, backend)]
    assert (len(client), len(backend)) == (24, 24)
    assert not cores[0] & cores[1] | cores[1] & cores[2] | cores[2] & cores[0]
    # With more workers than cores they share theirs, and leave one to each other side.
    server, client, backend = sides(place(Cell("proxy", 60, 1000), range(96), siblings=many))
    assert {cpu % 48 for cpu in server} == set(range(46))
    assert (client, backend) == ((46, 94), (47, 95))


@settings(max_examples=200)
@given(
    cores=st.integers(1, 8),
    threads=st.integers(1, 2),
    workers=st.integers(1, 16),
    workload=st.sampled_from(get_args(Workload)),
    chosen=st.lists(st.sets(st.integers(0, 15), min_size=1) | st.none(), min_size=3, max_size=3),
)
def test_every_side_has_cpus_and_cores_in_common_only_when_there_are_too_few(
    cores: int,
    threads: int,
    workers: int,
    workload: Workload,
    chosen: list[set[int] | None],
) -> None:
    cell = Cell(workload, workers, 1000)
    proxy = workload == "proxy"
    server, client, backend = chosen
    try:
        placed = place(
            cell,
            range(cores * threads),
            server_cpus=server,
            client_cpus=client,
            backend_cpus=backend,
            siblings=machine(cores, threads),
        )
    except BadInput:
        return
    used = [side for side in sides(placed) if side]
    assert len(used) == 2 + proxy
    assert len(placed.server_cpus) == workers
    assert all(list(side) == sorted(set(side)) for side in used)
    if chosen == [None, None, None] and workers + 1 + proxy <= cores:
        taken = [{cpu % cores for cpu in side} for side in used]
        assert sum(map(len, taken)) == len(set().union(*taken))
        assert len(taken[0]) == workers


TWO_SOCKETS = machine(48, 2)
"""Two sockets of 24 cores with two hyper-threads each, numbered as most machines do: 0 to 23 is the first socket."""
SOCKET: Packages = {cpu: cpu % 48 // 24 for cpu in range(96)}


def points(workload: Workload, workers: Sequence[int], packages: Packages = SOCKET) -> list[PlannedCell]:
    cells = [Cell(workload, n, 100 * n) for n in workers]
    return place_together(cells, range(96), Cpus(), siblings=TWO_SOCKETS, packages=packages)


def test_the_plan_for_96_cpus_has_the_servers_on_one_socket_and_the_client_on_the_other() -> None:
    workers = usual_workers(range(96), Cpus(), with_backend=False, siblings=TWO_SOCKETS, published=[24])
    assert workers == (1, 2, 4, 8, 16, 24)
    placed = points("short", workers)
    assert [one.server_cpus for one in placed] == [tuple(range(n)) for n in workers]
    assert {one.generator_cpus for one in placed} == {(*range(24, 48), *range(72, 96))}, "the same for all points"
    assert not any(one.shared_cpus for one in placed)
    assert {cpu % 48 for cpu in placed[-1].server_cpus} == set(range(24)), "a core each, without its other thread"
    documented = (ROOT / "docs" / "scaling.md").read_text()
    for one in placed:
        server, client = cpus.write(one.server_cpus), cpus.write(one.generator_cpus)
        assert f"| {one.workers} | {one.concurrency:,} | {server} | {client} |" in documented


def test_the_plan_for_96_cpus_gives_the_backend_as_much_as_the_client() -> None:
    workers = usual_workers(range(96), Cpus(), with_backend=True, siblings=TWO_SOCKETS, published=[24])
    assert workers == (1, 2, 4, 8, 16)
    placed = points("proxy", workers)
    assert [one.server_cpus for one in placed] == [tuple(range(n)) for n in workers]
    [(client, backend)] = {(one.generator_cpus, one.backend_cpus) for one in placed}
    assert (len(client), len(backend)) == (32, 32)
    cores = [{cpu % 48 for cpu in side} for side in (range(16), client, backend)]
    assert not cores[0] & cores[1] | cores[1] & cores[2] | cores[2] & cores[0]


def test_the_servers_stay_on_one_socket_where_the_kernel_numbers_both_in_turn() -> None:
    in_turn = {cpu: cpu % 2 for cpu in range(96)}
    placed = points("short", [1, 24], in_turn)
    assert placed[1].server_cpus == tuple(range(0, 48, 2))
    assert {cpu % 2 for cpu in placed[1].generator_cpus} == {1}
    assert placed[0].server_cpus == (0,)


@pytest.mark.parametrize(
    ("cpus", "threads", "sides", "expected"),
    [
        (1, 1, 1, (1,)),
        (2, 1, 1, (1, 2)),
        (2, 2, 1, (1, 2)),
        (4, 1, 1, (1, 2)),
        (8, 1, 1, (1, 2, 3, 4)),
        (12, 1, 1, (1, 2, 4, 6)),
        (12, 1, 2, (1, 2, 3, 4)),
        (16, 2, 1, (1, 2, 3, 4)),
        (128, 1, 1, (1, 2, 4, 8, 16, 24, 32, 64)),
    ],
)
def test_as_many_workers_are_compared_as_leave_the_others_room(
    cpus: int, threads: int, sides: int, expected: tuple[int, ...]
) -> None:
    found = usual_workers(
        range(cpus), Cpus(), with_backend=sides > 1, siblings=machine(cpus // threads, threads), published=[24]
    )
    assert found == expected


def test_of_chosen_cpus_all_are_used() -> None:
    chosen = Cpus(server=range(10, 22))
    assert usual_workers(range(96), chosen, with_backend=False, siblings=TWO_SOCKETS) == (1, 2, 4, 8, 12)


@pytest.mark.parametrize(
    ("cpus", "chosen", "with_backend", "expected"),
    [
        (96, Cpus(client=range(8, 96)), False, (1, 2, 4, 8)),
        (16, Cpus(client=[15]), False, (1, 2, 4, 8, 15)),
        (16, Cpus(client=[14, 15]), True, (1, 2, 4, 7)),
        (16, Cpus(client=[14, 15], backend=[13]), True, (1, 2, 4, 8, 13)),
        (16, Cpus(backend=range(15)), False, (1, 2, 4, 8)),
        (2, Cpus(client=[1]), False, (1, 2)),
    ],
)
def test_sides_that_were_chosen_keep_their_cores_and_want_no_others(
    cpus: int,
    chosen: Cpus,
    with_backend: bool,  # noqa: FBT001  a case's figure
    expected: tuple[int, ...],
) -> None:
    assert usual_workers(range(cpus), chosen, with_backend=with_backend) == expected


@settings(max_examples=100)
@given(
    cores=st.integers(1, 8),
    threads=st.integers(1, 2),
    workers=st.sets(st.integers(1, 16), min_size=1),
    workload=st.sampled_from(get_args(Workload)),
)
def test_fewer_workers_have_the_first_cpus_of_more_and_the_same_client(
    cores: int, threads: int, workers: set[int], workload: Workload
) -> None:
    allowed = range(cores * threads)
    cells = [Cell(workload, n, 100 * n) for n in sorted(workers) if n in range(1, len(allowed) + 1)]
    if not cells:
        return
    placed = place_together(cells, allowed, Cpus(), siblings=machine(cores, threads))
    assert len({(one.generator_cpus, one.backend_cpus) for one in placed}) == 1
    assert [len(one.server_cpus) for one in placed] == [cell.workers for cell in cells]
    for fewer, more in pairwise(placed):
        assert set(fewer.server_cpus) <= set(more.server_cpus)


def test_chosen_cpus_are_taken_as_they_are() -> None:
    placed = place(Cell("proxy", 2, 100), range(8), server_cpus=(7, 4, 5), client_cpus=(0, 1, 2), backend_cpus=(3,))
    assert sides(placed) == ((4, 5), (0, 1, 2), (3,))
    assert sides(place(Cell("short", 1, 2), range(8), client_cpus=(0, 1, 2), backend_cpus=(3,))) == ((3,), (0, 1), ())


def test_who_did_not_choose_gets_what_is_left() -> None:
    assert sides(place(Cell("short", 1, 100), [0, 1], client_cpus=[0])) == ((1,), (0,), ())
    assert sides(place(Cell("short", 1, 100), [0, 1], server_cpus=[1])) == ((1,), (0,), ())
    assert sides(place(Cell("proxy", 1, 100), [0, 1, 2], backend_cpus=[0])) == ((1,), (2,), (0,))
    assert sides(place(Cell("proxy", 1, 100), [0, 1], server_cpus=[0], client_cpus=[1])) == ((0,), (1,), (1,))
    assert sides(place(Cell("short", 2, 100), [0, 1], client_cpus=[0])) == ((0, 1), (0,), ())
    # 0 and 2 are one core: what is left of the server's own is only used when nothing else is.
    smt = machine(2, 2)
    assert sides(place(Cell("short", 1, 100), range(4), server_cpus=[0], siblings=smt)) == ((0,), (1, 3), ())
    assert sides(place(Cell("short", 1, 100), range(4), client_cpus=[0], siblings=smt)) == ((1,), (0,), ())
    four = machine(4, 2)
    assert sides(place(Cell("short", 2, 100), range(8), client_cpus=[0], siblings=four)) == ((1, 2), (0,), ())


@pytest.mark.parametrize(
    ("option", "chosen", "said"),
    [
        ("server_cpus", [2, 3, 8], r"--server-cpus 2-3,8: this process may not use CPU 8; choose from 0-3"),
        ("client_cpus", [9], r"--client-cpus 9: this process may not use CPU 9; choose from 0-3"),
        ("backend_cpus", [9], r"--backend-cpus 9: this process may not use CPU 9; choose from 0-3"),
        ("client_cpus", [], r"--client-cpus: no CPU is named; choose from 0-3"),
        ("server_cpus", [1], r"--server-cpus 1: 2 workers need 2 CPUs; name as many, or give --workers 1 or less"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(option: str, chosen: list[int], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        place(Cell("proxy", 2, 100), range(4), **{option: chosen})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0,2-5", (0, 2, 3, 4, 5)), (" 3, 1 ,1-2\n", (1, 2, 3))]
)
def test_cpu_lists(text: str, expected: tuple[int, ...]) -> None:
    assert CpuList().convert(text, None, None) == expected
    assert cpus.parse(cpus.write(expected)) == expected


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "3-1", "0,,1", "1.5", "0-99999999999", "0-9000", "²"])
def test_what_is_no_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"names no CPUs: .*; write them as in 0-3 or 0,2-5"):
        CpuList().convert(text, None, None)


def test_this_machine_tells_its_cores() -> None:
    assert all(cpu in threads for cpu, threads in cpus.siblings().items())
