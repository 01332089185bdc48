"""What versions did between two looks."""

from __future__ import annotations

from serving.rollout.figures import Answers, Latencies


def answers(requests: int, took: int) -> Answers:
    return Answers(requests, {}, Latencies((1.0,), (took, took)), ever=took)


def test_an_answer_that_is_counted_in_part_does_not_bring_back_all_of_before() -> None:
    """The version answers for another: that is known a moment before its answer is counted."""
    assert answers(94, 100) - answers(95, 100) == answers(0, 0)
    assert (answers(96, 102) - answers(95, 100)) == answers(1, 2)


def test_counts_of_a_version_that_was_loaded_anew_are_all_new() -> None:
    assert answers(7, 7) - answers(95, 100) == answers(7, 7)
