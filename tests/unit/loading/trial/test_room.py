"""What trials that go on at once may take is there for all of them."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from serving.cancellation import Cancellation
from serving.errors import LoadError, Retry
from serving.loading.batching.analysis import Analysis
from serving.loading.memory import Ledger
from serving.loading.trial.findings import Failure, Findings
from serving.loading.trial.room import TrialRoom
from serving.loading.trial.trial import Job
from serving.model_config.schema import ModelConfig
from serving.settings import load_settings

SETTINGS = load_settings({}, None, {})[0]
TOO_LITTLE = Failure("it needs more", for_memory=True)
FINE = Findings(Analysis("proven"), memory_bytes=10)


def job(size: int = 10, budget: int = 1000) -> Job:
    here = Path()
    return Job("m", 1, here, here, ModelConfig(), SETTINGS, (), size, budget)


class Taking:
    """A trial that needs so many bytes, and notes what it was lent."""

    def __init__(self, need: int) -> None:
        self.need, self.lent = need, list[int]()

    def __call__(self, job: Job) -> Findings | Failure:
        self.lent.append(job.budget)
        return FINE if job.budget >= self.need else TOO_LITTLE


def room(size: int = 10) -> TrialRoom:
    ledger = Ledger(1000)
    ledger.change(size)  # the files of the version that is tried
    return TrialRoom(ledger, places=2)


def test_fault_106_trials_side_by_side_are_lent_no_more_than_there_is() -> None:
    shared, lent = room(), list[int]()
    together = threading.Barrier(2)

    def run(one: Job) -> Findings:
        together.wait(20)
        lent.append(one.budget)
        together.wait(20)
        return FINE

    threads = [
        threading.Thread(target=shared.try_out, args=(job(), run, Cancellation())) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert lent == [500, 500]
    # All of it was given back.
    next_one = Taking(1000)
    assert shared.try_out(job(), next_one, Cancellation()) is FINE
    assert next_one.lent == [500, 1000]


def test_one_that_needs_more_than_its_share_gets_all_that_is_free() -> None:
    large = Taking(900)
    assert room().try_out(job(), large, Cancellation()) is FINE
    assert large.lent == [500, 1000]


def test_one_whose_files_alone_need_more_is_not_tried_in_vain() -> None:
    large = Taking(900)
    assert room(300).try_out(job(size=300), large, Cancellation()) is FINE
    assert large.lent == [1000]


@pytest.mark.parametrize("short", [True, False])
def test_what_memory_cut_short_is_looked_at_again_and_a_large_model_as_such_is_not(
    short: bool,
) -> None:
    lent = list[int]()

    def run(one: Job) -> Findings:
        lent.append(one.budget)
        return Findings(Analysis("proven"), memory_bytes=490, short=short)

    room().try_out(job(), run, Cancellation())
    assert lent == ([500, 1000] if short else [500])


def test_what_needs_more_than_all_fails_for_good() -> None:
    assert room().try_out(job(), Taking(2000), Cancellation()) is TOO_LITTLE
    own = Taking(2000)
    assert room().try_out(job(budget=200), own, Cancellation()) is TOO_LITTLE
    assert own.lent == [200]


def test_of_two_that_need_all_the_second_is_tried_another_time() -> None:
    shared = room()

    def run(one: Job) -> Findings | Failure:
        if one.budget < 1000:
            return TOO_LITTLE
        with pytest.raises(LoadError, match="no room for its trial") as error:
            shared.try_out(job(), Taking(900), Cancellation())
        assert error.value.retry is Retry.LATER
        return FINE

    assert shared.try_out(job(), run, Cancellation()) is FINE


def test_one_that_needs_all_waits_until_others_have_ended() -> None:
    shared, started, end = room(), threading.Event(), threading.Event()

    def other(_: Job) -> Findings:
        started.set()
        end.wait(20)
        return FINE

    def run(one: Job) -> Findings | Failure:
        end.set()
        return large(one)

    large = Taking(900)
    beside = threading.Thread(target=shared.try_out, args=(job(), other, Cancellation()))
    beside.start()
    assert started.wait(20)
    assert shared.try_out(job(), run, Cancellation()) is FINE
    assert large.lent == [500, 1000]
    beside.join(20)


def test_what_loaded_versions_leave_no_room_for_is_tried_another_time() -> None:
    ledger = Ledger(1000)
    ledger.change(410)
    with pytest.raises(LoadError, match="leave 600 bytes of the 1 KB") as error:
        TrialRoom(ledger, places=2).try_out(job(), Taking(900), Cancellation())
    assert error.value.retry is Retry.LATER
