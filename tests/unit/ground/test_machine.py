"""What the process may use, by affinity and the cgroups of both versions."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from serving import machine


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def v2(tmp_path: Path) -> tuple[Path, Path]:
    """A process in ``/pod/app`` of cgroup v2."""
    _write(tmp_path / "proc", "0::/pod/app\n")
    root = tmp_path / "cgroup"
    (root / "pod" / "app").mkdir(parents=True)
    return tmp_path / "proc", root


def test_without_cgroups_the_affinity_mask_counts(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    assert machine.usable_cpus(nowhere, nowhere) == machine.affinity_cpus()
    assert machine.cpu_quota(nowhere, nowhere) is None
    assert machine.memory_limit(nowhere, nowhere) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity masks")
def test_a_narrower_affinity_mask_leaves_fewer_cpus(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert machine.usable_cpus(tmp_path, tmp_path) == 1
    finally:
        os.sched_setaffinity(0, before)


def test_a_v2_quota_is_read_and_may_be_a_fraction(v2: tuple[Path, Path]) -> None:
    _write(v2[1] / "pod/app/cpu.max", "50000 100000\n")
    assert machine.cpu_quota(*v2) == 0.5
    assert machine.usable_cpus(*v2) == 0.5
    assert machine.usable_threads(*v2) == 1


def test_the_tightest_ancestor_counts(v2: tuple[Path, Path]) -> None:
    _write(v2[1] / "pod/app/cpu.max", "max 100000\n")
    _write(v2[1] / "pod/cpu.max", "75000 100000\n")
    _write(v2[1] / "pod/app/memory.max", "max\n")
    _write(v2[1] / "pod/memory.max", "1048576\n")
    _write(v2[1] / "memory.max", "9000000\n")
    assert machine.cpu_quota(*v2) == 0.75
    assert machine.memory_limit(*v2) == 1048576
    assert machine.usable_memory(*v2) == 1048576


def test_in_a_container_the_mounts_own_top_is_read(tmp_path: Path) -> None:
    _write(tmp_path / "proc", "0::/../../elsewhere\n")
    _write(tmp_path / "cgroup/cpu.max", "20000 10000\n")
    assert machine.cpu_quota(tmp_path / "proc", tmp_path / "cgroup") == 2.0


def test_a_group_that_cannot_be_looked_at_is_none(tmp_path: Path) -> None:
    """Here its name is too long; permission is refused alike."""
    _write(tmp_path / "proc", f"0::/{'g' * 300}\n")
    _write(tmp_path / "cgroup/memory.max", "1000\n")
    assert machine.memory_limit(tmp_path / "proc", tmp_path / "cgroup") == 1000


def test_a_v1_quota_and_limit_are_read(tmp_path: Path) -> None:
    _write(tmp_path / "proc", "4:memory:/app\n3:cpu,cpuacct:/app\n")
    root = tmp_path / "cgroup"
    _write(root / "cpu,cpuacct/app/cpu.cfs_quota_us", "30000\n")
    _write(root / "cpu,cpuacct/app/cpu.cfs_period_us", "100000\n")
    _write(root / "memory/app/memory.limit_in_bytes", "2097152\n")
    assert machine.cpu_quota(tmp_path / "proc", root) == pytest.approx(0.3)
    assert machine.memory_limit(tmp_path / "proc", root) == 2097152


def test_v1_words_for_no_limit_are_no_limit(tmp_path: Path) -> None:
    _write(tmp_path / "proc", "4:memory:/\n3:cpu:/\n")
    root = tmp_path / "cgroup"
    _write(root / "cpu/cpu.cfs_quota_us", "-1\n")
    _write(root / "cpu/cpu.cfs_period_us", "100000\n")
    _write(root / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert machine.cpu_quota(tmp_path / "proc", root) is None
    assert machine.memory_limit(tmp_path / "proc", root) is None


@pytest.mark.parametrize("text", ["", "max", "x y", "100000 0", "0 100000", "-5 100000"])
def test_nonsense_in_cpu_max_is_no_quota(v2: tuple[Path, Path], text: str) -> None:
    _write(v2[1] / "pod/app/cpu.max", text)
    assert machine.cpu_quota(*v2) is None


def test_this_machine_has_cpus_and_memory() -> None:
    assert machine.usable_cpus() > 0
    assert machine.usable_threads() >= 1
    assert 0 < machine.usable_memory() <= machine.physical_memory()


def test_cpus_are_told_apart_by_model_and_instruction_sets(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    text = "processor\t: 0\nmodel name\t: A\ncpu MHz\t\t: {}\nflags\t: fpu {}\n\nprocessor\t: 1\n"
    one.write_text(text.format(2400, "avx2"))
    two.write_text(text.format(1200, "avx2"))
    assert machine.processor_in(one) == machine.processor_in(two)
    two.write_text(text.format(2400, "avx512f"))
    assert machine.processor_in(one) != machine.processor_in(two)
    assert machine.processor_in(tmp_path / "absent")


def test_spare_threads_are_gone_when_they_were_there_and_a_want_of_them_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine.spare_threads(3)
    assert not [one for one in threading.enumerate() if one.name.startswith("spare-")]
    start, started = threading.Thread.start, []

    def second_fails(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", second_fails)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        machine.spare_threads(3)
    assert not started[0].is_alive()
