"""Connections count as local where their packets arrive on the first worker's CPU, whichever worker has them."""

import dataclasses

from impls import locality
from impls.locality import Sample
from impls.worker import Worker
from tests.fakes._alter import replace, run

REJECTED_BY = {"STAT-LOCALITY"}


class _OfFirstWorker(Sample):
    def __init__(self, worker: Worker, local: int, sampled: int) -> None:
        super().__init__(dataclasses.replace(worker, cpu=worker.cpu - worker.index), local, sampled)


if __name__ == "__main__":
    replace(locality, "Sample", _OfFirstWorker)
    run()
