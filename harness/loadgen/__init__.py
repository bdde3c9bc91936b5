"""What makes the load: processes that run one job at a time, each on its CPU, and the harness's end of their pipes."""

from harness.loadgen.client import Client, GeneratorFailed, receive
from harness.loadgen.control import Generator
from harness.loadgen.messages import Counted, Job, Outcome

__all__ = ["Client", "Counted", "Generator", "GeneratorFailed", "Job", "Outcome", "receive"]
