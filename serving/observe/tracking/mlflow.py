"""Windows as the metrics of MLflow runs."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from serving.credentials import shown
from serving.events import log
from serving.observe.figures import Key
from serving.observe.mlflow_api import RefusedError, connect
from serving.observe.tracking.exporter import RunFacts
from serving.observe.tracking.runs import Run, Runs
from serving.observe.windows import Window
from serving.settings import MlflowSettings
from serving.state_dir import StateDir


class MlflowExporter:
    """One run for each load of a version; the step is the window's number.

    Raises ConfigError where the settings can't be used.
    """

    name = "mlflow"

    def __init__(self, settings: MlflowSettings, state: StateDir) -> None:
        address = shown(settings.uri)
        self._http, self._api = connect(settings)
        self._experiment = settings.experiment
        self._experiment_id = ""
        self.target = f"{address}, experiment {settings.experiment}"
        self._runs = Runs(state, self.target, settings.run_age_s)

    def prepare(
        self, windows: Sequence[Window], facts: Mapping[Key, RunFacts]
    ) -> list[dict[str, Any]]:
        prepared = []
        for window in windows:
            of = facts.get((window.model, window.version))
            if of is not None:
                prepared.append({**window.to_json(), "run": self._runs.of(of, window.end).key})
        self._runs.save()
        return prepared

    def keep(self, present: Collection[Key], now: float) -> None:
        self._runs.keep(present, now)
        self._runs.save()

    def send(self, prepared: Sequence[dict[str, Any]]) -> int:
        by_run: dict[str, list[dict[str, Any]]] = {}
        for one in prepared:
            by_run.setdefault(str(one.get("run", "")), []).append(one)
        try:
            return sum(self._log(key, windows) for key, windows in by_run.items())
        finally:
            self._runs.save()

    def settle(self) -> None:
        """Finish the runs that have ended; those of which nothing was sent never were."""
        try:
            for run in self._runs.ended():
                if run.run_id:
                    self._finish(run)
                self._runs.forget(run)
        finally:
            self._runs.save()

    def close(self) -> None:
        self._http.close()

    def _finish(self, run: Run) -> None:
        try:
            self._api.end_run(run.run_id, run.status, run.ended_ms or int(time.time() * 1000))
        except RefusedError:
            return  # somebody deleted it

    def _log(self, key: str, windows: list[dict[str, Any]]) -> int:
        """How many windows are refused for good."""
        run = self._runs.get(key)
        if run is None:
            return len(windows)
        self._made(run)
        try:
            self._api.log_metrics(run.run_id, list(_metrics(windows, run.model_id)))
            return 0
        except RefusedError:
            # Deleted, for one: a new run takes its place.
            run.run_id, run.described = "", False
            run.asked = False
            self._runs.changed()
        self._made(run)
        try:
            self._api.log_metrics(run.run_id, list(_metrics(windows, run.model_id)))
        except RefusedError as refused:
            log.warning("mlflow_refused", run=run.run_id, reason=str(refused))
            return len(windows)
        return 0

    def _made(self, run: Run) -> None:
        """Make it where it is not, and send its parameters."""
        if not run.run_id:
            run.run_id = self._found(run) or self._created(run)
            self._runs.changed()
        if not run.described:
            self._api.log_params(run.run_id, run.params)
            run.described = True
            self._runs.changed()

    def _found(self, run: Run) -> str:
        """A call whose answer was lost may have made it."""
        if not run.asked:
            return ""
        return self._api.find_run(self._id(), "serving.run_key", run.key)

    def _created(self, run: Run) -> str:
        experiment = self._id()
        if run.model_id and not self._api.has_model(run.model_id):
            # Trained against another server; the tag still says which.
            run.model_id = ""
        run.asked = True
        self._runs.changed()
        try:
            return self._api.create_run(experiment, run.name, run.started_ms, run.tags)
        except RefusedError:
            # The experiment may have been deleted, or made anew.
            self._experiment_id = ""
            raise

    def _id(self) -> str:
        if not self._experiment_id:
            self._experiment_id = self._api.experiment(self._experiment)
        return self._experiment_id


def _metrics(windows: Sequence[dict[str, Any]], model_id: str) -> Iterator[dict[str, Any]]:
    about = {"model_id": model_id} if model_id else {}
    for window in windows:
        at = {"timestamp": int(window["end"] * 1000), "step": window["number"]}
        for key, value in window["figures"].items():
            if math.isfinite(value):
                yield {"key": key, "value": value, **at, **about}
