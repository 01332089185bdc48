"""What the system says of processes."""

from __future__ import annotations

import os
import time
from pathlib import Path


def gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether the process ends within the time. A zombie that its parent must still collect
    does not count as running."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if state_of(pid) in ("", "Z"):
            return True
        time.sleep(0.02)
    return False


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def children_of(pid: int) -> list[int]:
    """The processes that ``pid`` has for models and trials, zombies left out."""
    return [child for child in _all_children_of(pid) if not _is_template(child)]


def template_of(pid: int) -> int | None:
    """The process from which those are forked, while there is one."""
    return next(filter(_is_template, _all_children_of(pid)), None)


def _is_template(pid: int) -> bool:
    try:
        return b"\0serving.execution.isolation.child.template\0" in _command_line(pid)
    except OSError:
        return False


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def arguments_of(pid: int) -> list[str]:
    """What the process list shows; what was overwritten by less ends in zeros."""
    return _command_line(pid).rstrip(b"\0").decode().split("\0")


def _all_children_of(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(folder.name))
    return sorted(found)


def open_fds(pid: int | None = None) -> int:
    """How many file descriptors a process has (by default this one)."""
    return len(list(Path(f"/proc/{pid or os.getpid()}/fd").iterdir()))


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
