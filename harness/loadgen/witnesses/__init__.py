"""Other load generators behind the interface of ``Generator``: witnesses that the built-in one counts right."""

from harness.loadgen.witnesses.ab import Ab
from harness.loadgen.witnesses.base import MIN_TURN_S, Witness
from harness.loadgen.witnesses.wrk import Wrk
from harness.schema import Client

WITNESSES: dict[Client, type[Witness]] = {"ab": Ab, "wrk": Wrk}
"""By the names that ``--client`` and ``--clients`` take."""

__all__ = ["MIN_TURN_S", "WITNESSES", "Ab", "Witness", "Wrk"]
