"""The load generator: a pinned process that runs one job at a time, and the harness's end of its pipes."""

from harness.loadgen.control import Generator, GeneratorFailed
from harness.loadgen.messages import Job, Outcome

__all__ = ["Generator", "GeneratorFailed", "Job", "Outcome"]
