"""Memory: how much versions may take, and that it is given back."""

from __future__ import annotations

import mmap
import threading

import pytest

from serving.errors import LoadError, Retry
from serving.loading.memory import Ledger, check_alone, model_budget, resident, words
from serving.loading.trim import Trimmer
from serving.model_config.schema import ModelConfig
from serving.settings import load_settings
from tests.unit.trims import trims_end


def settings_of(**keys: object):
    return load_settings({f"loading.{key}": value for key, value in keys.items()}, None, {})[0]


def test_a_reservation_holds_what_it_says_until_released():
    ledger = Ledger(100)
    one = ledger.reserve(60)
    one.resize(70)
    assert ledger.held == 70
    one.release()
    one.release()
    assert ledger.held == 0


def test_a_total_that_is_used_up_is_tried_again_later():
    ledger = Ledger(100)
    first = ledger.reserve(60)
    with pytest.raises(LoadError, match="there is no room for its 50 bytes") as caught:
        ledger.reserve(50)
    assert caught.value.retry is Retry.LATER
    assert ledger.held == 60
    first.release()
    assert ledger.reserve(50).size == 50


def test_a_resize_that_does_not_fit_leaves_what_was_held():
    ledger = Ledger(100)
    one = ledger.reserve(60)
    with pytest.raises(LoadError):
        one.resize(101)
    assert (ledger.held, one.size) == (60, 60)


def test_a_load_that_fails_gives_back_what_it_reserved():
    ledger = Ledger(100)
    with pytest.raises(RuntimeError), ledger.reserve(60):
        raise RuntimeError
    assert ledger.held == 0
    with ledger.reserve(60):
        pass
    assert ledger.held == 60


def test_threads_never_hold_more_than_there_is():
    ledger = Ledger(1000)
    most, barrier = [], threading.Barrier(8)

    def work():
        barrier.wait()
        for _ in range(500):
            try:
                one = ledger.reserve(300)
            except LoadError:
                continue
            most.append(ledger.held)
            one.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 1000
    assert ledger.held == 0


def test_a_model_too_large_for_itself_fails_for_good():
    with pytest.raises(LoadError, match="its files have 2 GB, and it may take 1 GB") as caught:
        check_alone(2 * 10**9, 10**9, "its files have")
    assert caught.value.retry is Retry.NEVER


def test_the_models_budget_goes_before_the_settings_and_never_beyond_the_total():
    settings = settings_of(memory_bytes=1000, model_memory_bytes=100)
    assert model_budget(ModelConfig(), settings) == 100
    assert model_budget(ModelConfig(memory_bytes=300), settings) == 300
    assert model_budget(ModelConfig(memory_bytes=3000), settings) == 1000
    assert model_budget(ModelConfig(), settings_of(memory_bytes=1000)) == 1000


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1500, "1.5 KB"),
        (81_000_000, "81 MB"),
        (999_999, "1e+03 KB"),
        (2**50, "1.13e+03 TB"),
    ],
)
def test_sizes_are_said_in_words(count, said):
    assert words(int(count)) == said


def test_what_this_process_takes_shows():
    """Of the system: what the allocator has left from earlier tests would not be new."""
    before = resident()
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, 50_000_000, flags) as held:
        held[:: mmap.PAGESIZE] = bytes(-(-len(held) // mmap.PAGESIZE))
        assert resident() - before > 40_000_000


def test_a_trim_waits_for_a_quiet_moment_and_many_askings_are_one():
    cpu, waited, trimmed = [0.0], [], []
    entered, go = threading.Event(), threading.Event()

    def wait(seconds):
        waited.append(seconds)
        entered.set()
        go.wait(10)
        # Busy three times, then quiet.
        cpu[0] += seconds if len(waited) < 4 else 0.0

    trimmer = Trimmer(lambda: trimmed.append(True), lambda: cpu[0], wait)
    trimmer.ask()
    assert entered.wait(10)
    assert trimmed == []
    go.set()
    assert trims_end(10)
    assert len(waited) == 4
    assert trimmed == [True]
    for _ in range(50):
        trimmer.ask()
    assert trims_end(10)
    assert len(trimmed) < 50


def test_a_process_that_is_never_quiet_trims_all_the_same():
    cpu, trimmed = [0.0], []

    def wait(seconds):
        cpu[0] += seconds

    trimmer = Trimmer(lambda: trimmed.append(True), lambda: cpu[0], wait)
    trimmer.ask()
    assert trims_end(10)
    assert trimmed == [True]
