"""Samples that wait are bounded, and nobody waits to put one in."""

from __future__ import annotations

import numpy as np

from serving.observe.statistics.mailbox import Mailbox
from tests.unit.observe.statistics.world import Sample, tensor

ONE = Sample(inputs=[tensor("x", np.ones(25))])


def test_what_is_too_many_or_too_much_is_dropped_and_counted() -> None:
    few, small = Mailbox(3, 1 << 20), Mailbox(100, 250)
    for box, kept in ((few, 3), (small, 2)):
        box.put([ONE] * 5)
        assert (len(box.gather(1, 0.0)), box.dropped) == (kept, 5 - kept)
        # There is room again.
        box.put([ONE])
        assert len(box.gather(1, 0.0)) == 1


def test_who_waits_is_woken_by_a_sample_and_by_the_end() -> None:
    box = Mailbox(3, 1 << 20)
    assert not box.wait(0.0)
    box.put([ONE])
    assert box.wait(None)
    box.gather(1, 0.0)
    box.end()
    assert not box.wait(None)
    assert box.ended
    assert box.gather(512, 60.0) == []
