"""However many workers are asked for, there is one."""

from impls import cpus
from tests.fakes._alter import replace, run

REJECTED_BY = {
    "PROC-WORKERS",
    "PROC-PINNED",
    "PROC-OVERSUBSCRIBE",
    "PROC-ALL-SERVE",
    "PROC-RESPAWN",
    "STAT-VERBOSE",
    "LOG-REOPEN",
}


def main() -> None:
    plan = cpus.plan

    def plan_one(workers: int | None, start: int | None, *, oversubscribe: bool) -> tuple[int, ...]:
        return plan(workers, start, oversubscribe=oversubscribe)[:1]

    replace(cpus, "plan", plan_one)
    run()


if __name__ == "__main__":
    main()
