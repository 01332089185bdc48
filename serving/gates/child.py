"""The gates' child: loads the answering version and a new one, runs both, and says what came of it.

Run as ``python -m serving.gates.child <fd> <parent> <name>`` by ``judge.Judge``.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from serving import machine
from serving.datasets.pieces import SetError
from serving.errors import ConfigError, LoadError
from serving.execution import runtime
from serving.execution.faults import classify
from serving.execution.isolation import refusals
from serving.execution.isolation.child.serve import limit_memory, serve
from serving.execution.isolation.framing import Message
from serving.execution.isolation.shared_memory import SharedMemory
from serving.execution.run_limit import RunStoppedError, start_watching
from serving.execution.session import Runner, load_runner
from serving.gates import coupled, evaluating, metrics, replaying
from serving.gates.evaluating import Row, Scored
from serving.gates.metrics import Figure
from serving.gates.recorded import from_memory
from serving.gates.replaying import Ran, Request
from serving.gates.running import Running
from serving.gates.verdict import Check
from serving.loading.inputs import generated
from serving.loading.inputs.generated import Feeds
from serving.loading.inputs.samples import Sources, collect
from serving.loading.memory import Meter
from serving.loading.trial.first_use import pay_first_use
from serving.model_config import plain
from serving.model_config.labels import labels_of
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.strict import as_text

_ROOM = 64 * 1024 * 1024
_STACK = 9 * 1024 * 1024
# For the answers of both versions, labels, and what reads and judges them.
_EVALUATION = 2 * 1024 * 1024 * 1024
# Steps that read what others wrote, in many forms.
_OF_THE_SET = frozenset({"evaluate", "figures"})
# Where nothing was recorded: so many generated requests of one row, and of some.
_GENERATED, _SOME_ROWS = 8, 4


@dataclass(slots=True)
class _Version:
    runner: Runner
    config: ModelConfig
    folder: Path
    sources: Sources
    meter: Meter
    rows: int

    @property
    def names(self) -> list[str]:
        return [tensor.name for tensor in self.runner.signature.outputs]

    def run(self, feeds: Feeds) -> object:
        return self.runner.run(self.names, feeds)


class _TimedError(Exception):
    """A version's run failed for ``cause``."""

    def __init__(self, version: _Version, cause: Exception) -> None:
        super().__init__(str(cause))
        self.version, self.cause = version, cause


class _TimedRun:
    """Tells whose run it was that failed, or ended the process."""

    def __init__(self, version: _Version, which: str, running: Running) -> None:
        self._version, self._which, self._running = version, which, running

    def __call__(self, feeds: Feeds) -> object:
        self._running.note(self._which)
        try:
            return self._version.run(feeds)
        except (RunStoppedError, MemoryError):
            raise
        except Exception as error:
            raise _TimedError(self._version, error) from error


class Host:
    """Both versions in this process, one question a step."""

    def __init__(self) -> None:
        self._settings = Settings()
        self._versions: dict[str, _Version] = {}
        self._requests: list[Request] = []
        self._base: list[Ran] | None = None
        self._scored: dict[str, Scored] = {}
        # Requests that run on both versions, and of them those that the answering one answers
        # row by row.
        self._run_by_both: list[coupled.Asked] = []
        self._apart: list[coupled.Asked] = []

    def handle(self, message: Message, fds: list[int]) -> Message:
        """Answer ``{"do": step, ...}``; what is the version's fault comes back as ``{"refused":
        ...}``, what is the evaluation set's as ``{"unjudged": words}``, with ``missing`` where it
        needs what is not installed."""
        steps: dict[str, Callable[[Message, list[int]], Message]] = {
            "ready": self._ready,
            "load": self._load,
            "requests": self._take_requests,
            "replay": self._replay,
            "rows": self._rows,
            "time": self._time,
            "evaluate": self._evaluate,
            "figures": self._figures,
        }
        try:
            return steps[message["do"]](message, fds)
        except (LoadError, ConfigError) as error:
            return {"refused": refusals.to_plain(error)}
        except SetError as error:
            return {"unjudged": as_text(str(error))}
        except ModuleNotFoundError as error:
            return {"unjudged": _missing(error), "missing": True}
        except MemoryError as error:
            words = "there is not enough memory for it"
            return {"refused": refusals.to_plain(LoadError.after(error, words, repr(error)))}
        except RunStoppedError:
            raise
        except Exception as error:
            if message["do"] not in _OF_THE_SET:
                raise
            # The same set would come to the same another time.
            traceback.print_exc(file=sys.stderr)
            return {"unjudged": f"an unexpected error ({type(error).__name__})"}

    def _ready(self, message: Message, fds: list[int]) -> Message:
        del fds
        self._settings = Settings.model_validate(message["settings"])
        runtime.start_global_pool(self._settings)
        start_watching()
        pay_first_use(self._settings)
        return {"ok": True}

    def _load(self, message: Message, fds: list[int]) -> Message:
        del fds
        config, settings = plain.from_plain(message["config"]), self._settings
        path, folder = Path(message["path"]), Path(message["folder"])
        budget, size = int(message["budget"]), int(message["size"])
        meter = Meter(budget, machine.trim)
        limit_memory(budget + 2 * size + _ROOM + _STACK * (settings.intra_op_threads + 2))
        runner = load_runner(path, config, settings, message["name"])
        limits = settings.limits
        bounds = limits.max_message_bytes, limits.max_string_elements
        sources = Sources(path, folder, tuple(message["named"]), *bounds)
        rows = max(1, int(message["rows"]))
        version = _Version(runner, config, folder, sources, meter, rows)
        self._versions[message["which"]] = version
        return {"ok": True}

    def _take_requests(self, message: Message, fds: list[int]) -> Message:
        """Those that were recorded; without any the version's samples and generated input."""
        memory = SharedMemory(fds[0])
        try:
            memory.map(int(message["size"]))
            self._requests = [
                Request("recorded", f"recorded request {number}", feeds, answers)
                for number, (feeds, answers) in enumerate(from_memory(message["said"], memory), 1)
            ]
        finally:
            memory.close()
        return {"ok": True}

    def _replay(self, message: Message, fds: list[int]) -> Message:
        """On the answering version, and then on the new one."""
        del fds
        version = self._versions[message["which"]]
        if not self._requests:
            self._requests = self._made(version, generates=message["generates"] is True)
        ran = replaying.run_all(version.runner.run, version.names, self._requests)
        if message["which"] == "base":
            self._base = ran
            return {"ok": True}
        grown, budget = version.meter.grown, version.meter.budget
        checks = replaying.compared(self._requests, self._base, ran)
        checks.append(
            Check(
                "safe_to_serve", "memory_bytes", grown <= budget, f"at most {budget}", value=grown
            )
        )
        of_both = zip(self._requests, self._base or [""] * len(ran), ran, strict=True)
        self._run_by_both = [
            (request.what, request.feeds)
            for request, *answers in of_both
            if not any(isinstance(one, str) for one in answers)
        ]
        kinds = [request.kind for request in self._requests]
        counts = {kind: kinds.count(kind) for kind in ("recorded", "own", "generated")}
        counts["failed_there"] = sum(isinstance(one, str) for one in self._base or ())
        return {"checks": [asdict(check) for check in checks], "counts": counts}

    def _rows(self, message: Message, fds: list[int]) -> Message:
        """First of the answering version, then of the new one: a row alone may be what no client
        ever sent, and ends the process of who can't run it."""
        del fds
        base, found = self._versions["base"], self._versions["candidate"]
        names = [name for name in base.names if name in found.names]
        tolerance = found.config.tolerance
        if message["which"] == "base":
            run, both = base.runner.run, self._run_by_both
            self._apart = coupled.answered_apart(run, names, both, tolerance)
            return {"checks": []}
        return {"checks": [asdict(coupled.check(found.runner.run, names, self._apart, tolerance))]}

    def _made(self, version: _Version, *, generates: bool) -> list[Request]:
        """Its samples and, where it ``generates`` any, input that it runs."""
        signature = version.runner.signature
        samples = collect(version.sources, signature, version.config).samples
        found = [Request("own", sample.what, sample.feeds) for sample in samples if sample.own]
        if not generates:
            return found
        by_rows = version.rows > 1 and signature.may_batch
        hints = [sample.feeds for sample in samples]
        plan = generated.find_plan(version.runner.run, signature, by_rows, hints)
        if plan is not None:
            sizes = [1] * _GENERATED + ([_SOME_ROWS] * _GENERATED if by_rows else [])
            found += [
                Request("generated", f"generated input {at + 1}", plan.make(rows, seed=at))
                for at, rows in enumerate(sizes)
            ]
        return found

    def _time(self, message: Message, fds: list[int]) -> Message:
        running = Running(fds[0])
        try:
            return self._timed(float(message["factor"]), running)
        finally:
            running.close()

    def _timed(self, factor: float, running: Running) -> Message:
        base, candidate = self._versions["base"], self._versions["candidate"]
        ran = self._base or []
        feeds = [
            request.feeds
            for request, one in zip(self._requests, ran, strict=False)
            if not isinstance(one, str)
        ]
        if not feeds:
            return {"checks": []}
        of_base = _TimedRun(base, "base", running)
        of_candidate = _TimedRun(candidate, "candidate", running)
        try:
            check = replaying.timed(of_base, of_candidate, feeds, factor)
        except _TimedError as error:
            words = classify(error.cause).message
            if error.version is base:
                return {"checks": [], "untimed": words}
            words = f"it failed while it was timed: {words}"
            check = Check("safe_to_serve", "runs", False, words)
        return {"checks": [asdict(check)]}

    def _evaluate(self, message: Message, fds: list[int]) -> Message:
        del fds
        limit_memory(_EVALUATION)
        version = self._versions[message["which"]]
        evaluation = self._versions["candidate"].config.gates.evaluation
        if evaluation is None:
            raise RuntimeError("there is no evaluation set")
        metrics.check_there(evaluation.metrics)
        most = self._settings.limits.max_message_bytes
        scored = evaluating.score(
            version.runner.run,
            version.runner.signature,
            evaluation,
            Path(message["data"]),
            version.rows,
            most,
        )
        self._scored[message["which"]] = scored
        return {"examples": len(scored.answers)}

    def _figures(self, message: Message, fds: list[int]) -> Message:
        del message, fds
        version = self._versions["candidate"]
        evaluation = version.config.gates.evaluation
        if evaluation is None:
            raise RuntimeError("there is no evaluation set")
        found, base = self._scored["candidate"], self._scored.get("base")
        names = evaluation.classes or _class_names(version, evaluation.output)
        rows = evaluating.judge(found, base, evaluation, names, version.config.tolerance)
        return {"rows": [_plain(row) for row in rows]}


def _missing(error: ModuleNotFoundError) -> str:
    if error.name and error.name.startswith("pyarrow"):
        return "its form needs pyarrow: install 'serving[parquet]'"
    return metrics.MISSING


def _class_names(version: _Version, output: str | None) -> Sequence[str]:
    """As the judged output's label file has them."""
    labels = labels_of(version.config, version.folder)
    from serving.gates.predictions import judged_output

    text = labels.get(judged_output(version.runner.signature, output), "")
    return text.splitlines()


def _plain(row: Row) -> dict[str, Any]:
    def figures(found: Mapping[str, Figure]) -> dict[str, list[Any]]:
        return {metric: [one.value, as_text(one.words)] for metric, one in found.items()}

    return {
        "slice": as_text(row.slice),
        "examples": row.examples,
        "figures": figures(row.figures),
        "base": figures(row.base),
    }


def main() -> None:
    """Never returns."""
    runtime.ort()
    serve(Host().handle)


if __name__ == "__main__":
    main()
