"""What a process may allocate while it reads what may unpack to anything."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from serving import machine, own_memory

MIB = 1024 * 1024


def test_half_of_the_memory_may_be_had_while_it_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(machine, "usable_memory", lambda: 400 * MIB)
    with own_memory.bounded():
        assert np.empty(100 * MIB, np.uint8).nbytes
        with pytest.raises(MemoryError):
            np.empty(300 * MIB, np.uint8)
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        assert own_memory.limit_words() == f": this process may have {limit:,} bytes of it"
    assert np.empty(300 * MIB, np.uint8).nbytes
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_tighter_limit_of_the_operators_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    tight = own_memory.memory_of("VmData") + 50 * MIB
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (tight, before[1]))
        with own_memory.bounded():
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == tight
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def test_where_the_system_cannot_tell_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setattr(own_memory, "memory_of", lambda kind: 0)
    with own_memory.bounded():
        assert resource.getrlimit(resource.RLIMIT_DATA) == before
