"""Who waits for a worker that dies after SIGTERM is reset where nobody else listens for it."""

from impls.supervisor import Supervisor
from tests.fakes._alter import replace, run

REJECTED_BY = {"LISTEN-DEAD-WORKER"}

if __name__ == "__main__":
    replace(Supervisor, "_replace_to_finish", lambda *_: None)
    run()
