"""Samples of one version wait for each other, in bounds."""

from __future__ import annotations

import numpy as np

from serving.observe.statistics.pending import Pending
from tests.unit.observe.statistics.world import Sample, tensor


def one(version: int) -> Sample:
    return Sample(version=version, inputs=[tensor("x", np.ones(25))])


def test_a_version_is_due_once_it_has_enough() -> None:
    pending = Pending(3, 100, 1 << 20)
    assert pending.add([one(1), one(2), one(1)]) == []
    assert pending.add([one(1)]) == [("m", 1)]
    assert len(pending.take(("m", 1))) == 3
    assert (len(pending), pending.versions()) == (1, [("m", 2)])
    assert pending.take(("m", 1)) == []


def test_all_are_due_once_they_are_too_many_or_too_much() -> None:
    for pending in (Pending(10, 2, 1 << 20), Pending(10, 100, 250)):
        assert pending.add([one(1), one(2)]) == []
        assert pending.add([one(2)]) == [("m", 1), ("m", 2)]
        for key in pending.versions():
            pending.take(key)
        assert len(pending) == 0
        assert pending.add([one(3), one(3)]) == []
