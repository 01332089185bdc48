"""What a child says of a version that it refused comes out of it whole, or not at all."""

from __future__ import annotations

import os
import threading
from functools import partial
from typing import Any

import pytest

from serving.errors import ConfigError, LoadError, Retry
from serving.execution import runtime
from serving.execution.isolation import refusals
from serving.execution.isolation.child import main
from serving.loading.trial import child as trial
from serving.settings import Settings


@pytest.mark.parametrize("retry", list(Retry))
@pytest.mark.parametrize("for_memory", [True, False])
def test_a_refusal_says_on_both_sides_whether_to_try_again(retry: Retry, for_memory: bool) -> None:
    error = LoadError("no", "why", retry, for_memory=for_memory)
    found = refusals.from_plain(refusals.to_plain(error))
    assert isinstance(found, LoadError)
    said = (found.reason, found.detail, found.retry, found.for_memory)
    assert said == ("no", "why", retry, for_memory)


def test_the_name_of_a_file_that_is_no_text_keeps_no_refusal_from_its_way() -> None:
    error = LoadError("no", "/models/\udcff: " + "x" * 5000)
    found = refusals.from_plain(refusals.to_plain(error))
    assert isinstance(found, LoadError)
    assert found.detail.startswith("/models/\\udcff: xxx")


def test_a_wrong_configuration_stays_one() -> None:
    found = refusals.from_plain(refusals.to_plain(ConfigError("no such key")))
    assert isinstance(found, ConfigError)
    assert str(found) == "no such key"


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {"reason": 1},
        {"reason": "no", "detail": "", "more": 1},
        {"reason": "no", "for_memory": "yes"},
        {"reason": "no", "detail": "", "retry": "soon", "for_memory": False},
    ],
)
def test_what_is_no_refusal_is_not_taken_for_one(said: Any) -> None:
    with pytest.raises(ValueError, match="its refusal"):
        refusals.from_plain(said)


@pytest.mark.parametrize(
    ("error", "retry"),
    [
        (OSError(5, "I/O error"), Retry.LATER),
        (MemoryError(), Retry.LATER),
        (FileNotFoundError(2, "No such file"), Retry.ON_CHANGE),
        (RuntimeError(), Retry.NEVER),
    ],
)
def test_what_the_system_refused_may_pass_and_what_is_missing_comes_as_a_change(
    error: BaseException, retry: Retry
) -> None:
    assert LoadError.after(error, "no").retry is retry


@pytest.mark.parametrize("what", ["a trial", "a version's own"])
@pytest.mark.parametrize("words", ["can't start new thread", "something else"])
def test_fault_115_a_child_without_a_thread_for_a_version_refuses_it_for_now(
    monkeypatch: pytest.MonkeyPatch, what: str, words: str
) -> None:
    def none(settings: Settings) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(runtime, "start_global_pool", none)
    monkeypatch.setattr("sys.setswitchinterval", float)
    message = {"do": "ready", "settings": Settings().model_dump(mode="json")}
    if what == "a trial":
        ask = partial(trial.Host().handle, message, [])
    else:
        ask = partial(main.Host().handle, message | {"do": "load"}, [os.dup(0)])
    if words == "something else":
        with pytest.raises(RuntimeError, match=words):
            ask()
        return
    found = refusals.from_plain(ask()["refused"])
    assert isinstance(found, LoadError)
    assert found.reason == "no thread could be started for it"
    assert found.retry is Retry.LATER


def test_fault_115_a_child_without_a_thread_for_a_run_keeps_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    host, fd = main.Host(), os.dup(0)
    monkeypatch.setattr(threading.Thread, "start", none)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        host.handle({"do": "channel"}, [fd])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
