"""Which CPU each worker is bound to."""

import os


def plan(workers: int | None, start: int | None, *, oversubscribe: bool) -> tuple[int, ...]:
    """Choose one CPU per worker from the CPUs this process may use, in ascending order from ``start`` on.

    Allowed CPUs are those of sched_getaffinity(2), so a container's cpuset counts. ``None`` stands for
    the default: the lowest allowed CPU, and as many workers as CPUs from there on. With ``oversubscribe``
    workers beyond the last CPU begin again at the first.

    Raises ValueError with one line that says what would be right.
    """
    allowed = sorted(os.sched_getaffinity(0))
    first = allowed[0] if start is None else start
    if first not in allowed:
        raise ValueError(f"-c {first}: this process may not use CPU {first}; allowed: {spans(allowed)}")
    usable = allowed[allowed.index(first) :]
    count = len(usable) if workers is None else workers
    if count > len(usable) and not oversubscribe:
        raise ValueError(
            f"-w {count}: {count} workers need {count} CPUs, and from CPU {first} on this process may use "
            f"{len(usable)} ({spans(usable)}); give -w {len(usable)} or less, or --oversubscribe"
        )
    return tuple(usable[i % len(usable)] for i in range(count))


def spans(cpus: list[int]) -> str:
    """Write ``[0, 1, 2, 5]`` as ``0-2,5``."""
    parts: list[list[int]] = []
    for cpu in cpus:
        if parts and cpu == parts[-1][-1] + 1:
            parts[-1].append(cpu)
        else:
            parts.append([cpu])
    return ",".join(str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts)
