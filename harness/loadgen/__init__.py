"""What makes the load: processes that run one job at a time, each on its CPU, and the harness's end of their pipes."""

from harness.loadgen.control import Generator, GeneratorFailed
from harness.loadgen.messages import Counted, Job, Outcome

__all__ = ["Counted", "Generator", "GeneratorFailed", "Job", "Outcome"]
