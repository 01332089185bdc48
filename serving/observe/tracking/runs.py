"""MLflow's runs of this server: one for each load of a version, rotated, remembered on disk."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from serving.observe.figures import Key
from serving.observe.tracking.exporter import RunFacts
from serving.state_dir import StateDir

_DOCUMENT = "tracking-mlflow-runs"
# An outage of weeks must not grow the table for ever.
_MOST = 2000


@dataclass(slots=True)
class Run:
    """``key`` is ours, ``run_id`` MLflow's ("" until made). ``asked``: it may have been made
    although nobody answered. ``described``: its parameters have arrived. ``status`` "" while
    it goes on. Times in milliseconds since the epoch."""

    key: str
    name: str
    started_ms: int
    tags: dict[str, str]
    params: dict[str, str]
    model_id: str = ""
    run_id: str = ""
    asked: bool = False
    described: bool = False
    status: str = ""
    ended_ms: int = 0


@dataclass(slots=True)
class _Current:
    run: Run
    since: float
    began: float = field(default=0.0)


class Runs:
    """Safe from two threads: one begins and ends runs, one sends them.

    ``target``: what the run ids belong to; those of another are forgotten. Runs that a former
    process left open are ended as KILLED.
    """

    def __init__(self, state: StateDir, target: str, age_s: float) -> None:
        self._state = state
        self._target = target
        self._age_s = age_s
        self._lock = threading.Lock()
        self._current: dict[Key, _Current] = {}
        self._all = self._restored()
        self._saved = True

    def of(self, facts: RunFacts, now: float) -> Run:
        """The run that a window which ends ``now`` (seconds) belongs to; a new one where the
        version was loaded anew or its run has reached its age."""
        with self._lock:
            key = (facts.model, facts.version)
            current = self._current.get(key)
            if current is not None:
                if current.since == facts.since and now - current.began < self._age_s:
                    return current.run
                self._end(current.run, "FINISHED", now)
            run = _new(facts, now)
            self._current[key] = _Current(run, facts.since, now)
            self._all[run.key] = run
            self._saved = False
            while len(self._all) > _MOST:
                self._all.pop(next(iter(self._all)))
            return run

    def keep(self, present: Collection[Key], now: float) -> None:
        """End the runs of all other versions."""
        with self._lock:
            for key in self._current.keys() - set(present):
                self._end(self._current.pop(key).run, "FINISHED", now)

    def get(self, key: str) -> Run | None:
        with self._lock:
            return self._all.get(key)

    def ended(self) -> list[Run]:
        with self._lock:
            return [run for run in self._all.values() if run.status]

    def forget(self, run: Run) -> None:
        with self._lock:
            self._all.pop(run.key, None)
            self._saved = False

    def changed(self) -> None:
        """A run was altered."""
        self._saved = False

    def save(self) -> None:
        """Bring the table to disk, if it differs."""
        with self._lock:
            if self._saved:
                return
            self._saved = True
            document = {"target": self._target, "runs": [asdict(r) for r in self._all.values()]}
        self._state.write(_DOCUMENT, document)

    def _end(self, run: Run, status: str, now: float) -> None:
        run.status, run.ended_ms = status, int(now * 1000)
        self._saved = False

    def _restored(self) -> dict[str, Run]:
        document = self._state.read(_DOCUMENT)
        if not isinstance(document, dict):
            return {}
        found = {run.key: run for run in _parsed(document.get("runs"))}
        for run in found.values():
            if not run.status:
                run.status = "KILLED"
            if document.get("target") != self._target:
                run.run_id, run.asked, run.described = "", False, False
        return found


def _new(facts: RunFacts, now: float) -> Run:
    key = uuid.uuid4().hex
    server = facts.params.get("server", "serving")
    tags = {
        "serving.run_key": key,
        "serving.server": server,
        "serving.model": facts.model,
        "serving.version": str(facts.version),
        "serving.training_run_id": facts.run_id,
        "serving.model_id": facts.model_id,
        "mlflow.source.name": "serving",
        "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": facts.git_commit,
    }
    return Run(
        key=key,
        name=f"{facts.model} v{facts.version} on {server}"[:250],
        started_ms=int(now * 1000),
        tags=tags,
        params=dict(facts.params),
        model_id=facts.model_id,
    )


def _parsed(listed: Any) -> Iterator[Run]:
    """What a file of ours holds; what is not ours is passed over."""
    kinds = {one.name: one for one in fields(Run)}
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.keys() != kinds.keys():
            continue
        texts = all(isinstance(one[name], str) for name in ("key", "name", "run_id", "status"))
        tables = all(isinstance(one[name], dict) for name in ("tags", "params"))
        times = all(isinstance(one[name], int) for name in ("started_ms", "ended_ms"))
        if texts and tables and times:
            yield Run(**one)
