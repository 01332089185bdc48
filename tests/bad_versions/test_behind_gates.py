"""Bad versions behind gates, at steady load: none answers a single user's request.

The table is what there is to see; a row is a kind of bad version, and what is said of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from serving import publish
from tests.bad_versions import models
from tests.bad_versions.models import SIDE, X, Y
from tests.bad_versions.users import Users, asking, requests
from tests.clients import forked, oip
from tests.clients.gateway import Gateway, wait_until
from tests.small_models import write

AGREES = "thresholds: {agreement: 0.55}"
ACCURATE = "label: y, thresholds: {accuracy: {at_least: 0.9, worse_by: 0.01}}"
YAML = """gates:
  p99_factor: %s
  evaluation: {data: e.npz, slices: [side], %s}
memory_bytes: 300000000
"""


def damaged(folder: Path, number: int) -> Path:
    """A byte of its file is another one than its manifest says."""
    version = _published(folder, number)
    data = bytearray((version / "model.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (version / "model.onnx").write_bytes(data)
    return version


def cut_off(folder: Path, number: int) -> Path:
    """Its file never comes as a whole, as its manifest has it."""
    version = _published(folder, number)
    data = (version / "model.onnx").read_bytes()
    (version / "model.onnx").write_bytes(data[:100])
    return version


def _published(folder: Path, number: int) -> Path:
    folder.mkdir()
    onnx.save(models.as_good(), folder / "good.onnx")
    version = publish(folder / "good.onnx", folder, "m", version=number).path
    (version / "model.onnx").chmod(0o600)
    return version


class Bad(NamedTuple):
    """``make``: its model, or what lays it. ``seen``: words of why it takes no traffic. ``yaml``:
    the model's configuration, where it is to be another one."""

    make: Callable[..., Any]
    seen: str
    yaml: str = YAML % (0, AGREES)
    gates_s: float = 60.0


KINDS = {
    "corrupt": Bad(damaged, "model.onnx is corrupt"),
    "partial": Bad(cut_off, "and its manifest lists"),
    "crashes at load": Bad(models.crashing_at_load, "SIGFPE"),
    "crashes on some inputs": Bad(models.crashing, "the process ended with SIGFPE"),
    "fails on some inputs": Bad(models.failing, "failed: "),
    "hangs": Bad(models.hanging, "longer than 4 s", gates_s=4.0),
    "leaks": Bad(models.leaking, "memory"),
    "slow": Bad(partial(models.busy, 0.003), "p99_s", yaml=YAML % (2, AGREES)),
    "NaN": Bad(models.nan, "NaN or infinity"),
    "wrong shape": Bad(models.wide, "has shape ["),
    "worse accuracy": Bad(models.inaccurate, "accuracy", yaml=YAML % (0, ACCURATE)),
    "fails on a slice": Bad(models.bent, "agreement of side=right"),
    "coupled rows": Bad(models.coupled, "differs alone and beside others"),
}
# Those that take long (a process of scikit-learn, time itself), or are much like another.
SLOW = frozenset({"fails on some inputs", "hangs", "leaks", "slow", "worse accuracy"})


def status(gateway: Gateway) -> Any:
    return gateway.get("/api/v1/models/m", port=gateway.admin_port).json()


def told(gateway: Gateway, version: int) -> str | None:
    """Why it takes no traffic, once that is known."""
    found = next((one for one in status(gateway)["versions"] if one["version"] == version), None)
    if found is None:
        return None
    words = found["reason"]
    verdict = found.get("verdict")
    if verdict is not None:
        assert verdict["verdict"] == "NOT_BLESSED"
        words = serving(gateway, "models", "status", "m")
    waits = found["state"] == "NEW" and "manifest" in words
    return words if waits or found["state"] == "FAILED" else None


def serving(gateway: Gateway, *arguments: str) -> str:
    done = forked.run(*arguments, "--admin-url", f"http://{gateway.admin}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def lay(repository: Path, kind: Bad, number: int) -> None:
    """It appears as a whole: what its manifest says is the matter of who made it."""
    if kind.make in (damaged, cut_off):
        made = kind.make(repository.parent / f"published-{number}", number)
        made.rename(repository / "m" / str(number))
    else:
        write(repository, "m", kind.make(), number)


@pytest.fixture
def start(start_gateway: Any, repository: Path) -> Callable[..., Gateway]:
    """Serve the good model as version 1 of "m", with gates."""

    def started(yaml: str, gates_s: float = 60.0) -> Gateway:
        write(repository, "m", models.good(), yaml=yaml)
        np.savez(repository / "m" / "e.npz", x=X, y=Y, side=SIDE)
        trials = {"loading.trial": "auto", "gates.timeout_s": str(gates_s)}
        gateway: Gateway = start_gateway(repository, trials)
        return gateway

    return started


# What users ask for: single rows, some of them special, and now and then a few rows at once.
_ROWS = requests(special=False, rows=3)
MIXED = [x for at, one in enumerate(requests(special=True)) for x in (one, *_ROWS[at % 20 :: 60])]


def recorded(gateway: Gateway, users: Users) -> None:
    """Enough requests of users are kept, of every kind that they send."""
    kept = partial(gateway.metric, "serving_gates_replay_requests", model="m")
    wait_until(lambda: users.versions["1"] > 60 and kept() > 40, 60, "users are served")


def test_no_bad_version_answers_a_user_and_a_good_one_does(
    start: Callable[..., Gateway], start_gateway: Any, repository: Path
) -> None:
    """Those that are quickly seen, one after the other; their verdicts outlive the gateway."""
    gateway = start(YAML % (0, AGREES))
    with asking(gateway, MIXED) as users:
        recorded(gateway, users)
        for number, (name, kind) in enumerate(KINDS.items(), 2):
            if name in SLOW:
                continue
            lay(repository, kind, number)
            words = wait_until(partial(told, gateway, number), 60, f"what {name} is told of")
            assert kind.seen in words, (name, words)
        named = {"inputs": [oip.json_input("x", X[:1])]}
        refused = gateway.infer("m", named, number)
        words = refused.json()["error"]
        assert (refused.status, "kept from traffic by its gates" in words) == (503, True)
        last = number + 1
        write(repository, "m", models.as_good(), last)
        wait_until(lambda: users.versions[str(last)], 20, "the good one answers")
    assert set(users.versions) == {"1", str(last)}
    assert not users.wrong
    gateway.assert_clean_log()
    assert gateway.stop() == 0
    again = start_gateway(repository, {"state_dir": str(gateway.folder / "state")})
    assert again.infer("m", named).json()["model_version"] == str(last)
    assert again.log().count("gates_begin") == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_bad_version_answers_no_user(
    name: str, start: Callable[..., Gateway], repository: Path
) -> None:
    kind = KINDS[name]
    gateway = start(kind.yaml, kind.gates_s)
    with asking(gateway, MIXED) as users:
        recorded(gateway, users)
        before = users.versions["1"]
        lay(repository, kind, 2)
        words = wait_until(partial(told, gateway, 2), 120, f"what {name} is told of")
        assert kind.seen in words, words
        wait_until(lambda: users.versions["1"] > before + 50, 20, "users are served on")
    assert set(users.versions) == {"1"}
    assert not users.wrong
