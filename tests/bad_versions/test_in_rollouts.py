"""Bad versions that only live traffic shows, in a rollout at steady load: nobody sees one fail,
none gets more than its share, and each is rolled back within a window and a second of what shows
it.

The table is what there is to see; a row is a kind of bad version, and why it is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from tests.bad_versions import models
from tests.bad_versions.users import Users, asking, requests
from tests.clients import forked
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import write

WINDOW_S = 1.0
SHARE = 20
# How long users wait for a version that hangs.
PATIENCE_S = 0.5
MEMORY = 100_000_000
# What a run of a model takes that another is held against which takes three times as long.
USUAL_S = 0.004


class Bad(NamedTuple):
    """``make``: its model. ``reasons``: words of why it is rolled back, any of them. ``good``: the
    one that it is held against. ``shown_s``: how long it takes to show it, from the start.
    ``answers``: what it gives is an answer, of which nobody but the judge says that it is wrong."""

    make: Callable[[], onnx.ModelProto]
    reasons: tuple[str, ...]
    good: Callable[[], onnx.ModelProto] = models.good
    settings: Mapping[str, str] = {}
    shown_s: float = 0.0
    pause_s: float = 0.004
    answers: bool = False


KINDS = {
    "fails on some inputs": Bad(models.failing, ("errors of its operators",)),
    "crashes on some inputs": Bad(models.crashing, ("its process died",)),
    "hangs": Bad(
        models.hanging,
        ("passed deadlines", "too many errors", "every request failed"),
        shown_s=PATIENCE_S,
    ),
    "leaks": Bad(
        models.leaking,
        ("inputs that it does not take", "refusals", "too many errors", "every request failed"),
        settings={"isolation.memory_bytes": str(MEMORY)},
    ),
    "NaN": Bad(models.nan, ("NaN",), answers=True),
    "slow": Bad(
        partial(models.busy, 3 * USUAL_S),
        ("median latency",),
        good=partial(models.busy, USUAL_S),
        settings={"canary.p50_requests": "20"},
        pause_s=0.02,
        # At least two comparisons of twenty requests, as many more as a busy machine takes.
        shown_s=20.0,
    ),
}
# Short enough for every run of the tests.
QUICK = ("hangs", "leaks")


def status(gateway: Gateway) -> Any:
    return gateway.get("/api/v1/models/m/rollout", port=gateway.admin_port).json()


def start_rollout(gateway: Gateway) -> None:
    url = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
    words = ("start", "m", "2", "--steps", f"{SHARE},100", "--every", "1h")
    done = forked.run("rollout", *words, environment=url)
    assert done.returncode == 0, done


@pytest.fixture
def start(start_gateway: Any, repository: Path) -> Callable[[Bad], Gateway]:
    """Serve the good model as version 1 of "m", kept there, and have the bad one as version 2."""

    def started(kind: Bad) -> Gateway:
        write(repository, "m", kind.good(), 1)
        settings = {
            "canary.window_s": str(WINDOW_S),
            "rollout.patience_s": str(PATIENCE_S),
            **kind.settings,
        }
        gateway: Gateway = start_gateway(repository, settings)
        url = {"SERVING_ADMIN_URL": f"http://{gateway.admin}"}
        done = forked.run("rollout", "weights", "m", "1=100", environment=url)
        assert done.returncode == 0, done
        write(repository, "m", kind.make(), 2)
        versions = lambda: gateway.models()["models"][0]["versions"]  # noqa: E731 - one use
        ready = lambda: [one["state"] for one in versions()] == ["READY"] * 2  # noqa: E731 - one use
        wait_until(ready, 60, "version 2 is ready")
        return gateway

    return started


def rolled_back(gateway: Gateway, users: Users, kind: Bad) -> None:
    before = users.versions.copy()
    start_rollout(gateway)
    over = lambda: status(gateway)["phase"] not in ("waiting", "running")  # noqa: E731 - one use
    wait_until(over, 30 + kind.shown_s, "the rollout has ended")
    ended = status(gateway)
    assert ended["phase"] == "rolled back", ended
    assert any(reason in ended["reason"] for reason in kind.reasons), ended["reason"]
    # Of those that were asked meanwhile it got its share, and no more than that by chance.
    asked = sum((users.versions - before).values())
    share = SHARE / 100
    most = share * asked + 4 * np.sqrt(share * (1 - share) * asked) + 5
    assert ended["canary"]["requests"] <= most
    assert ended["changed"] - ended["started"] < kind.shown_s + 2 * WINDOW_S + 1
    wait_until(lambda: users.versions["1"] > before["1"] + 50, 20, "users are served on")


def check(start: Callable[[Bad], Gateway], kind: Bad) -> None:
    gateway = start(kind)
    with asking(gateway, requests(special=True), kind.pause_s) as users:
        rolled_back(gateway, users, kind)
    assert set(users.wrong) <= ({"2"} if kind.answers else set())
    gateway.assert_clean_log()


@pytest.mark.parametrize("name", QUICK)
def test_a_bad_version_is_rolled_back_and_nobody_sees_it(name: str, start: Any) -> None:
    check(start, KINDS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KINDS if name not in QUICK])
def test_a_bad_version_of_another_kind_is_rolled_back_and_nobody_sees_it(
    name: str, start: Any
) -> None:
    check(start, KINDS[name])


@pytest.mark.slow
def test_one_whose_rows_are_coupled_answers_each_user_as_if_alone(start: Any) -> None:
    """It is served without batches, so that there is nothing to see of it but its speed."""
    gateway = start(Bad(models.coupled, ()))
    with asking(gateway, requests(special=False), pause_s=0.0) as users:
        start_rollout(gateway)
        wait_until(lambda: users.versions["2"] >= 100, 30, "it answers users")
    assert not users.wrong
    assert status(gateway)["phase"] == "running"
