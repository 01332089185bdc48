"""The trial's child: loads one version at a time, runs it, and says what it found out.

Run as ``python -m serving.loading.trial.child <fd> <parent> <name>`` by ``trial.Trial``.
"""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from serving import machine
from serving.errors import LoadError
from serving.execution import runtime
from serving.execution.isolation import refusals
from serving.execution.isolation.child.serve import limit_memory, serve
from serving.execution.isolation.framing import Message
from serving.execution.isolation.integer_division import graph_divides_integers
from serving.execution.isolation.value_growth import growth
from serving.execution.onnx_nodes import Model, read_file_nodes
from serving.execution.run_limit import RunStoppedError
from serving.execution.session import Array, Output, Runner, load_runner
from serving.loading.inputs.samples import Samples, Sources, collect, run_all
from serving.loading.memory import Meter
from serving.loading.stateful import check_stateless
from serving.loading.tapping import tap_of
from serving.loading.trial import findings
from serving.loading.trial.first_use import pay_first_use
from serving.loading.trial.rehearsal import Subject, rehearse
from serving.model_config import plain
from serving.model_config.schema import ModelConfig
from serving.settings import Settings

# What a load takes beside the model: thread stacks, which count in full, and room for a few
# tables.
_ROOM = 64 * 1024 * 1024
_STACK = 9 * 1024 * 1024


@dataclass(slots=True)
class _Loaded:
    runner: Runner
    config: ModelConfig
    settings: Settings
    sources: Sources
    meter: Meter
    samples: Samples
    graph: Model | None
    loaded_bytes: int = 0


class _Stopped(BaseException):
    """The trial was told to stop. Not an Exception: what a model's failures are taken for
    must not take this."""


class Host:
    """One version in this process, from ``load`` until it was rehearsed, or ``drop``. Its runs are
    in the thread that makes it."""

    def __init__(self) -> None:
        self._loaded: _Loaded | None = None
        self._used = False
        # As they were said last.
        self._settings: Settings | None = None
        self._thread = threading.get_ident()
        # From the word to stop until the version is dropped.
        self._stopping = False

    def handle(self, message: Message, fds: list[int]) -> Message:
        """Answer ``{"do": stage, ...}``; what is the version's fault comes back as
        ``{"refused": ...}`` (see ``refusals``), and ``{"stopped": True}`` once it was told to
        stop."""
        del fds
        stages: dict[str, Callable[[Message], Message]] = {
            "ready": self._ready,
            "load": self._load,
            "samples": self._samples,
            "rehearse": self._rehearse,
            "drop": self._drop,
        }
        try:
            return stages[message["do"]](message)
        except _Stopped:
            return {"stopped": True}
        except LoadError as error:
            return {"refused": refusals.to_plain(error)}
        except RuntimeError as error:
            return {"refused": refusals.to_plain(refusals.short_of_threads(error))}
        except MemoryError as error:
            words = "there is not enough memory for it"
            return {"refused": refusals.to_plain(LoadError.after(error, words, repr(error)))}

    def hear(self, word: str) -> None:
        """From any thread: ``stop`` ends the run that goes on, and the stage with it."""
        del word
        self._stopping = True
        if self._loaded is not None:
            self._loaded.runner.stop(self._thread)

    def _run(self, names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Output]:
        if self._stopping:
            raise _Stopped
        try:
            return self._there().runner.run(names, feeds)
        except RunStoppedError:
            raise _Stopped from None

    def _ready(self, message: Message) -> Message:
        """What is the same for every version, done once."""
        settings = self._settings = Settings.model_validate(message["settings"])
        runtime.start_global_pool(settings)
        self._use_first(settings)
        return {"ok": True}

    def _load(self, message: Message) -> Message:
        self._drop(message)
        config, settings = plain.from_plain(message["config"]), self._settings
        if settings is None:
            raise RuntimeError("it was not made ready")
        path = Path(message["path"])
        graph = read_file_nodes(path, config.model_filename)
        if graph is not None:
            check_stateless(graph)
        budget, size = int(message["budget"]), int(message["size"])
        meter = Meter(budget, machine.trim)
        # The file's bytes, and onnxruntime's parse of them, go once the session is made.
        limit_memory(budget + 2 * size + _ROOM + _STACK * (settings.intra_op_threads + 2))
        runner = load_runner(path, config, settings, message["name"])
        sources = Sources(
            path,
            Path(message["folder"]),
            tuple(message["named"]),
            settings.limits.max_message_bytes,
            settings.limits.max_string_elements,
        )
        self._loaded = _Loaded(runner, config, settings, sources, meter, Samples(), graph)
        # Most versions have none, and are spared a question.
        there = sources.any(config)
        if not there:
            self._loaded.loaded_bytes = meter.grown
        return {"samples": there}

    def _use_first(self, settings: Settings) -> None:
        if not self._used:
            self._used = True
            pay_first_use(settings)

    def _samples(self, message: Message) -> Message:
        del message
        one = self._there()
        one.samples = collect(one.sources, one.runner.signature, one.config)
        run_all(self._run, one.runner.signature, one.samples.samples)
        one.loaded_bytes = one.meter.grown
        return {"ok": True}

    def _rehearse(self, message: Message) -> Message:
        del message
        one = self._there()
        divides = one.graph is not None and graph_divides_integers(one.graph)
        grows = "" if one.graph is None else growth(one.graph)
        tap = tap_of(one.sources.version, one.config, one.settings)
        found = rehearse(
            self._run,
            one.runner.signature,
            one.config,
            one.settings,
            one.samples.samples,
            one.meter,
            Subject(one.graph, tap, divides, alone=True),
        )
        found = replace(found, divides=divides, grows=grows, loaded_bytes=one.loaded_bytes)
        del one, tap
        self._drop({})
        return {"findings": findings.to_plain(found), "dropped": True}

    def _drop(self, message: Message) -> Message:
        del message
        if self._loaded is not None:
            self._loaded.runner.close()
            self._loaded = None
        self._stopping = False
        _unlimit()
        machine.trim()
        return {"ok": True}

    def _there(self) -> _Loaded:
        if self._loaded is None:
            raise RuntimeError("no version is loaded")
        return self._loaded


def _unlimit() -> None:
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))


def main() -> None:
    """Never returns."""
    runtime.ort()
    host = Host()
    serve(host.handle, host.hear)


if __name__ == "__main__":
    main()
