"""What is read of a network device."""

from pathlib import Path

import pytest

from harness.errors import BadInput
from harness.nic import device, interrupts
from harness.nic.interrupts import Interrupt
from harness.nic.netlink import Channels
from harness.nic.queues import RxQueue, TxQueue
from tests import made_nic


def test_a_card_is_read_with_its_queues_and_interrupts(tmp_path: Path) -> None:
    kernel = made_nic.make(tmp_path, queues=2)
    queues = tmp_path / "sys/class/net/card0/queues"
    (queues / "rx-1/rps_cpus").write_text("2,00000001\n")
    (queues / "rx-0/rps_flow_cnt").write_text("4096\n")
    (queues / "tx-1/xps_cpus").write_text("00000000,0000000a\n")
    found = device.read("card0", kernel)
    assert (found.index, found.kind, found.driver, found.numa_node) == (7, None, "maker", 1)
    assert (found.is_up, found.speed_mbps) == (True, 10_000)
    assert found.channels == Channels(combined=2, max_combined=8)
    assert found.coalescing["rx-usecs"] == 20
    assert found.rx == (RxQueue(0, (), 4096), RxQueue(1, (0, 33), 0))
    assert found.tx == (TxQueue(0, ()), TxQueue(1, (1, 3)))
    every = (0, 1, 2, 3)
    assert found.interrupts == (
        Interrupt(40, "card0-config", None, every),
        Interrupt(41, "card0-TxRx-0", 0, every),
        Interrupt(42, "card0-TxRx-1", 1, every),
    )


@pytest.mark.parametrize(
    ("files", "is_up"),
    [
        ({"operstate": "unknown"}, True),
        ({"flags": "0x1002", "operstate": "up"}, False),
        ({"carrier": "0", "operstate": "up"}, False),
    ],
)
def test_a_device_is_up_by_its_flags_and_its_link(tmp_path: Path, files: dict[str, str], *, is_up: bool) -> None:
    kernel = made_nic.make(tmp_path)
    for name, text in files.items():
        (tmp_path / "sys/class/net/card0" / name).write_text(f"{text}\n")
    assert device.read("card0", kernel).is_up is is_up


@pytest.mark.parametrize(
    ("name", "queue"),
    [
        ("eth3", 0),
        ("eth3-TxRx-12", 12),
        ("i40e-eth3-TxRx-0", 0),
        ("eth3-rx-2", 2),
        ("eth3-fp-1", 1),
        ("eth3-q5-tx", 5),
        ("virtio2-input.1", 1),
        ("mlx5_comp3@pci:0000:03:00.0", 3),
        ("virtio2-config", None),
        ("mlx5_async0@pci:0000:03:00.0", None),
        ("ena-mgmnt@pci:0000:00:05.0", None),
        ("eth3-event-4", None),
    ],
)
def test_the_queue_of_an_interrupt_is_told_by_its_name(name: str, queue: int | None) -> None:
    assert interrupts.queue_of(name, "eth3") == queue


def test_a_card_without_msi_has_the_interrupt_of_its_line(tmp_path: Path) -> None:
    kernel = made_nic.make(tmp_path)
    for path in (tmp_path / "sys/bus/pci/devices/0/msi_irqs").iterdir():
        path.unlink()
    (tmp_path / "sys/bus/pci/devices/0/irq").write_text("41\n")
    [only] = device.read("card0", kernel).interrupts
    assert (only.number, only.queue) == (41, 0)


def test_virtio_has_the_interrupts_of_the_device_under_it(tmp_path: Path) -> None:
    kernel = made_nic.make(tmp_path)
    under = tmp_path / "sys/bus/pci/devices/0/virtio2"
    under.mkdir()
    (under / "subsystem").symlink_to(tmp_path / "sys/bus/virtio")
    link = tmp_path / "sys/class/net/card0/device"
    link.unlink()
    link.symlink_to(under)
    found = device.read("card0", kernel)
    assert [one.number for one in found.interrupts] == [40, 41]
    assert found.numa_node == 1


def test_the_loopback_device_of_this_machine_is_read() -> None:
    assert "lo" in device.names()
    found = device.read("lo")
    assert (found.kind, found.driver, found.interrupts) == (device.LOOPBACK, None, ())
    assert found.rx


@pytest.mark.parametrize("name", ["absent", "../lo", "", "."])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(BadInput, match=r"is no network device here; there are: .*\blo\b"):
        device.read(name)
