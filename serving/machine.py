"""What this process may use of the machine, CPUs and memory, and which machine it is.

Counting the host's cores is wrong in a container: the affinity mask and the cgroup's quota
both cut them down, and onnxruntime looks at neither (fact C12).
"""

from __future__ import annotations

import ctypes
import os
import resource
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from pathlib import Path

_PROC_CGROUP = Path("/proc/self/cgroup")
_CGROUP_ROOT = Path("/sys/fs/cgroup")
_OWN = (_PROC_CGROUP, _CGROUP_ROOT)
_CPUINFO = Path("/proc/cpuinfo")
# What of a CPU decides which code runs on it, and how fast: x86's lines, then ARM's.
_CPU_LINES = ("vendor_id", "model name", "flags", "CPU implementer", "CPU part", "Features")
# cgroup v1 writes "no limit" as a number near 2**63, rounded down to a page.
_V1_UNLIMITED = 1 << 60


def usable_cpus(proc_cgroup: Path = _PROC_CGROUP, root: Path = _CGROUP_ROOT) -> float:
    """CPUs by affinity and cgroup quota, whichever is smaller; may be a fraction, never 0."""
    is_own = (proc_cgroup, root) == _OWN
    quota = _own_limits()[0] if is_own else cpu_quota(proc_cgroup, root)
    cpus = float(affinity_cpus())
    return cpus if quota is None else min(cpus, quota)


def usable_threads(proc_cgroup: Path = _PROC_CGROUP, root: Path = _CGROUP_ROOT) -> int:
    """How many threads can compute at once without being throttled: at least 1."""
    return max(1, int(usable_cpus(proc_cgroup, root)))


def usable_memory(proc_cgroup: Path = _PROC_CGROUP, root: Path = _CGROUP_ROOT) -> int:
    """Bytes by physical memory and cgroup limit, whichever is smaller."""
    is_own = (proc_cgroup, root) == _OWN
    limit = _own_limits()[1] if is_own else memory_limit(proc_cgroup, root)
    physical = physical_memory()
    return physical if limit is None else min(physical, limit)


def _own_limits() -> tuple[float | None, int | None]:
    """Quota and memory limit of this process's own groups, as they were within the last second:
    each load asks several times, and who changes them does it by hand."""
    return _limits_in(int(time.monotonic()))


@lru_cache(maxsize=1)
def _limits_in(second: int) -> tuple[float | None, int | None]:
    del second
    return cpu_quota(), memory_limit()


# For a thread that has ended to be gone.
_GONE_S = 1.0
# As Python says it, and onnxruntime.
_NO_THREAD = ("can't start new thread", "pthread_create failed")


def is_thread_shortage(error: BaseException) -> bool:
    """Whether it says that the system refuses another thread, which may pass."""
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_THREAD)


def spare_threads(count: int) -> None:
    """Have so many threads more, for a moment: some libraries end the process where they get none.

    Raises RuntimeError where the system starts none. When it returns they are gone, and their
    places free for whoever comes first.
    """
    let_go = threading.Event()
    threads: list[threading.Thread] = []
    try:
        for number in range(count):
            thread = threading.Thread(target=let_go.wait, name=f"spare-{number}", daemon=True)
            thread.start()
            threads.append(thread)
    finally:
        let_go.set()
        for thread in threads:
            thread.join()
        _wait_for_places(threads)


def _wait_for_places(threads: Sequence[threading.Thread]) -> None:
    """A thread that has been joined may still have a moment to go."""
    places = [Path(f"/proc/self/task/{thread.native_id}") for thread in threads]
    until = time.monotonic() + _GONE_S
    while any(map(os.path.exists, places)) and time.monotonic() < until:
        time.sleep(0.001)


def thread_shortage_words() -> str:
    """What may be in the way, for the operator."""
    space, processes = (_limit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_NPROC))
    return (
        "the system starts no further thread for want of memory or of a place for it: the limit"
        f" of address space (ulimit -v) is {space}, of processes and threads (ulimit -u)"
        f" {processes}; a cgroup may have one of its own (pids.max)"
    )


def file_size_words() -> str:
    """Why memory that is shared with a child, a file to the kernel, can't be had (EFBIG)."""
    return (
        f"the limit of the size of files (ulimit -f) is {_limit(resource.RLIMIT_FSIZE)} bytes, too"
        " little for the model's files, which a process of its own gets as one"
    )


def _limit(kind: int) -> str:
    limit = resource.getrlimit(kind)[0]
    return "none" if limit == resource.RLIM_INFINITY else str(limit)


def affinity_cpus() -> int:
    """CPUs that the scheduler may put this process on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def processor() -> tuple[str, ...]:
    """What tells CPUs apart: architecture, model, instruction sets; the first CPU's, as far as
    the system says. A process keeps the kind that it began on."""
    return _own_processor()


@cache
def _own_processor() -> tuple[str, ...]:
    return processor_in(_CPUINFO)


def processor_in(cpuinfo: Path) -> tuple[str, ...]:
    """``processor`` by such a file as the kernel's."""
    first = _read(cpuinfo).partition("\n\n")[0]
    lines = (line.partition(":") for line in first.splitlines())
    said = {key.strip(): value.strip() for key, _, value in lines}
    return (os.uname().machine, *(said[key] for key in _CPU_LINES if key in said))


def physical_memory() -> int:
    """Bytes of memory the kernel manages."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def trim() -> None:
    """Hand what the C library's heap holds for nobody back to the system (fact C11), at
    once and without the GIL. Does nothing where the library has no such call."""
    if (call := _malloc_trim()) is not None:
        call(ctypes.c_size_t(0))


@cache
def _malloc_trim() -> Callable[[ctypes.c_size_t], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)


def cpu_quota(proc_cgroup: Path = _PROC_CGROUP, root: Path = _CGROUP_ROOT) -> float | None:
    """CPUs that the cgroup's quota grants, the tightest of all ancestors; None without one."""
    quotas = [_v2_quota(d) for d in _directories(proc_cgroup, root, "")]
    quotas += [_v1_quota(d) for d in _directories(proc_cgroup, root, "cpu")]
    return min((q for q in quotas if q is not None), default=None)


def memory_limit(proc_cgroup: Path = _PROC_CGROUP, root: Path = _CGROUP_ROOT) -> int | None:
    """Bytes that the cgroup grants, the tightest of all ancestors; None without a limit."""
    v2 = [_integer(_read(d / "memory.max")) for d in _directories(proc_cgroup, root, "")]
    v1 = [
        _integer(_read(d / "memory.limit_in_bytes"))
        for d in _directories(proc_cgroup, root, "memory")
    ]
    return min((n for n in v2 + v1 if n is not None and 0 < n < _V1_UNLIMITED), default=None)


def _directories(proc_cgroup: Path, root: Path, controller: str) -> Sequence[Path]:
    """The process's group and its ancestors, where this machine shows them.

    In a container the path named by /proc may lie above what is mounted, so the mount's own
    top is always looked at. ``controller`` is "" for cgroup v2.
    """
    return _groups(_read(proc_cgroup), root, controller)


@lru_cache(maxsize=16)
def _groups(said: str, root: Path, controller: str) -> Sequence[Path]:
    """Those that are there. ``said``: by /proc, of the process's groups; it is asked for at each
    load, and seldom another."""
    mount, group = _mounted(said, root, controller)
    above = [mount / one for one in (group, *group.parents) if one.parts]
    return tuple(one for one in (*above, mount) if _is_folder(one))


def _mounted(said: str, root: Path, controller: str) -> tuple[Path, Path]:
    for line in said.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        group = Path(path.strip().lstrip("/"))
        if ".." in group.parts:
            group = Path()
        if not controller and number == "0" and not controllers:
            return root, group
        if controller and controller in controllers.split(","):
            joint = root / controllers
            return (joint if _is_folder(joint) else root / controller), group
    return (root / controller if controller else root), Path()


def _is_folder(path: Path) -> bool:
    """Also False where that may not be known."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _v2_quota(directory: Path) -> float | None:
    quota, _, period = _read(directory / "cpu.max").strip().partition(" ")
    return _ratio(quota, period)


def _v1_quota(directory: Path) -> float | None:
    quota = _read(directory / "cpu.cfs_quota_us").strip()
    return _ratio(quota, _read(directory / "cpu.cfs_period_us").strip())


def _ratio(quota: str, period: str) -> float | None:
    """CPUs; None for "max", -1 or a file that isn't there."""
    granted, length = _integer(quota), _integer(period)
    return granted / length if granted and length and granted > 0 and length > 0 else None


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")  # file: the kernel's
    except OSError:
        return ""
