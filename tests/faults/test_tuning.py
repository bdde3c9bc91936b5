"""What ends tune half-way, and what happens to a tuned device: a veth with queues in a namespace of its own."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests import own_network
from tests.namespaces import CPUS
from tests.own_network import DEVICE, KILLED, OwnNetwork

TWO_CPUS = ["--cpus", ",".join(map(str, CPUS))]


@pytest.fixture
def network() -> Iterator[OwnNetwork]:
    """Open a namespace, on a machine with two CPUs."""
    if len(CPUS) < 2:
        pytest.skip("it takes two CPUs")
    with own_network.opened() as opened:
        yield opened


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Begin each command like this."""
    return ["tune", "--nic", DEVICE, "--state", str(tmp_path / "state.json")]


def test_tune_is_killed_with_9_before_any_change__revert_brings_back_every_byte(
    network: OwnNetwork, command: list[str], tmp_path: Path
) -> None:
    before = network.settings()
    for step in count():
        applied = network.run(*command, *TWO_CPUS, "--rfs", "--apply", die_at=step)
        # What brings it back may be killed, too.
        network.run(*command, "--revert", die_at=step)
        said = network.run(*command, "--revert")
        assert (said.status, said.err) == (0, ""), step
        assert network.settings() == before, step
        assert not list(tmp_path.iterdir())
        if applied.status != KILLED:
            break
    assert (applied.status, step > 5) == (0, True)


def test_a_tuned_device_is_renamed__revert_finds_it(network: OwnNetwork, command: list[str]) -> None:
    before = network.settings()
    assert network.run(*command, *TWO_CPUS, "--apply").status == 0
    network.change_link("set", ifname="other")
    said = network.run(*command, "--revert")
    assert said.status == 0
    assert f"{DEVICE} is called other now" in said.out
    renamed = {name.replace(DEVICE, "other"): text for name, text in before.items()}
    assert network.settings("other") == renamed


def test_a_tuned_device_goes_away__revert_brings_the_host_back_and_says_so(
    network: OwnNetwork, command: list[str]
) -> None:
    before = network.settings()
    assert network.run(*command, *TWO_CPUS, "--apply").status == 0
    network.change_link("del")
    said = network.run(*command, "--revert")
    assert said.status == 0
    assert f"{DEVICE} is not there any more" in said.out
    after = network.settings()
    assert after == {name: text for name, text in before.items() if DEVICE not in name}
    assert "Nothing to revert" in network.run(*command, "--revert").out


def test_a_driver_resets_its_queues_after_tune__revert_brings_back_what_was(
    network: OwnNetwork, command: list[str]
) -> None:
    before = network.settings()
    assert network.run(*command, *TWO_CPUS, "--apply").status == 0
    xps = f"/sys/class/net/{DEVICE}/queues/tx-1/xps_cpus"
    network.write(xps, f"{1 << CPUS[0]:x}")
    said = network.run(*command, "--revert")
    assert said.status == 0
    assert f"tx-1 xps_cpus: was {CPUS[0]}, which is of somebody else" in said.out
    assert network.settings() == before


def test_what_was_is_of_another_network_namespace__revert_refuses(network: OwnNetwork, command: list[str]) -> None:
    assert network.run(*command, *TWO_CPUS, "--apply").status == 0
    tuned = network.settings()
    with own_network.opened() as other:
        before = other.settings()
        said = other.run(*command, "--revert")
        assert said.is_one_line_of_error
        assert f"is of {DEVICE} in another network namespace" in said.err
        assert other.settings() == before
    assert network.settings() == tuned
    assert network.run(*command, "--revert").status == 0
