"""From a version's folder to a slot that serves: load, warm, prove, start; and back."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import LoadError, Word
from serving.events import log
from serving.execution.faults import classify
from serving.execution.instances import Instances
from serving.execution.session import Array, Output, Runner, load_runner
from serving.model_config.schema import ModelConfig
from serving.models import proof, warmup
from serving.models.cost import best_rows
from serving.models.proof import BatchingVerdict
from serving.models.warmup import Feeds, Plan, Run
from serving.settings import Settings
from serving.signature import Signature, Tensor

if TYPE_CHECKING:
    from serving import _core


class LoadCancelledError(LoadError):
    """The version is no longer wanted; nothing was kept."""


def _never() -> bool:
    return False


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class LoadedSlot:
    """A version that runs batches: its queue, its session and the threads between them.

    ``provider_nodes``: execution provider -> nodes of the graph; ``provider``: the one with
    most. ``threads``: of the intra-op pool. ``notes``: what is other than expected, in words.
    """

    name: str
    version: int
    queue: _core.Queue
    runner: Runner
    instances: Instances
    verdict: BatchingVerdict
    config: ModelConfig
    signature: Signature
    provider: str
    provider_nodes: Mapping[str, int]
    threads: int
    load_seconds: float
    stats: _core.Stats
    notes: tuple[str, ...] = field(default=())

    def close(self, timeout: float) -> bool:
        """Let the queued requests out, then give the session's memory back.

        Waits at most ``timeout`` seconds for the runs; then what is still queued is answered
        UNAVAILABLE and False comes back: a run cannot be stopped, and the session stays until
        the last one ends. To be called once, away from the serving threads, after a route
        table without this version was published.
        """
        self.queue.close()
        done = self.instances.join(timeout)
        if not done:
            self.queue.abort(Word.UNAVAILABLE, f"version {self.version} is being unloaded")
        self.runner.close()
        _trim()
        return done


def load_slot(
    name: str,
    version: int,
    path: Path,
    config: ModelConfig,
    settings: Settings,
    stats: _core.Stats | None = None,
    cancelled: Callable[[], bool] = _never,
    on_warming: Callable[[], None] = _nothing,
) -> LoadedSlot:
    """Load the version in folder ``path``, warm it, prove its batching, start its instances.

    ``stats`` goes on counting for a version loaded again. ``cancelled`` is asked between
    runs. ``on_warming`` is called when the session is there and the first run is next.

    Raises LoadError with the reason, LoadCancelledError when ``cancelled`` said so.
    """
    start = time.monotonic()
    _check(cancelled)
    runner = load_runner(path, config, settings, name)
    try:
        on_warming()
        verdict, notes, best = _warm(runner, path.parent / "warmup", config, settings, cancelled)
        _check(cancelled)
    except BaseException:
        runner.close()
        raise
    if best and best < verdict.max_rows and not config.preferred_batch_sizes:
        config = replace(config, preferred_batch_sizes=(best,))
        verdict = replace(verdict, words=f"{verdict.words}; cheapest at {best} a run")
    notes = [*runner.notes, *notes]
    _report(name, version, verdict, notes)
    return _start(name, version, runner, verdict, config, settings, stats, tuple(notes), start)


def _warm(
    runner: Runner,
    folder: Path,
    config: ModelConfig,
    settings: Settings,
    cancelled: Callable[[], bool],
) -> tuple[BatchingVerdict, list[str], int | None]:
    """The verdict on batching, in words what did not go as it might have, and how many rows
    are cheapest in a run."""
    signature = runner.signature

    def run(names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Output]:
        _check(cancelled)
        return runner.run(names, feeds)

    hints = _run_samples(run, signature, config, folder)
    wanted = proof.intent(config, settings)
    by_rows = bool(wanted.max_rows) and signature.may_batch
    plan = warmup.find_plan(run, signature, by_rows, hints)
    plans: list[Plan | None] = [plan]
    if by_rows and any(tensor.optional for tensor in signature.inputs):
        plans.append(warmup.find_plan(run, signature, by_rows, hints, with_optional=True))
    verdict = proof.prove(run, signature, wanted, config.tolerance, plans)
    if plan is None:
        ran = "" if hints else ": the first requests will be slow"
        return verdict, [f"generated input did not run{ran}"], None
    sizes = warmup.warm_sizes(verdict.max_rows or 1, config.preferred_batch_sizes)
    words, seconds = warmup.warm(
        run, plan, _output_names(signature), sizes if plan.by_rows else [1]
    )
    return verdict, [words] if words else [], best_rows(seconds)


def _run_samples(run: Run, signature: Signature, config: ModelConfig, folder: Path) -> list[Feeds]:
    """The inputs of the user's own samples, each run as often as it says."""
    done = []
    for sample in config.warmup:
        feeds = warmup.sample_feeds(sample, signature, folder)
        try:
            for _ in range(max(1, sample.count)):
                run(_output_names(signature), feeds)
        except LoadError:
            raise
        except Exception as error:
            fault = classify(error)
            raise LoadError(
                f"warm-up sample '{sample.name}' failed: {fault.message}", fault.detail
            ) from error
        done.append(feeds)
    return done


def _start(
    name: str,
    version: int,
    runner: Runner,
    verdict: BatchingVerdict,
    config: ModelConfig,
    settings: Settings,
    stats: _core.Stats | None,
    notes: tuple[str, ...],
    start: float,
) -> LoadedSlot:
    from serving import _core

    stats = _core.Stats(name, version) if stats is None else stats
    config = _in_force(config, settings)
    queue = _queue(name, version, runner.signature, verdict, config, settings, stats)
    return LoadedSlot(
        name=name,
        version=version,
        queue=queue,
        runner=runner,
        instances=Instances(queue, runner, config.instances, f"{name}:{version}"),
        verdict=verdict,
        config=config,
        signature=runner.signature,
        provider=runner.provider,
        provider_nodes=runner.providers,
        threads=runner.threads,
        load_seconds=time.monotonic() - start,
        stats=stats,
        notes=notes,
    )


_LIMITS = ("delay_us", "max_queue_requests", "max_queue_rows", "max_queue_bytes")


def _in_force(config: ModelConfig, settings: Settings) -> ModelConfig:
    """The configuration with the server's own limits where the model states none."""
    silent = [key for key in _LIMITS if getattr(config, key) is None]
    return replace(config, **{key: getattr(settings.batching, key) for key in silent})


def _queue(
    name: str,
    version: int,
    signature: Signature,
    verdict: BatchingVerdict,
    config: ModelConfig,
    settings: Settings,
    stats: _core.Stats,
) -> _core.Queue:
    from serving import _core

    def spec(tensor: Tensor) -> _core.TensorSpec:
        return _core.TensorSpec(tensor.name, tensor.datatype, tensor.shape, tensor.optional)

    return _core.Queue(
        model=name,
        version=version,
        inputs=[spec(tensor) for tensor in signature.inputs],
        outputs=[spec(tensor) for tensor in signature.outputs],
        max_rows=verdict.max_rows,
        **{key: getattr(config, key) for key in _LIMITS},
        priority_levels=config.priority_levels,
        default_priority=config.default_priority,
        default_timeout_us=config.default_timeout_us,
        max_string_elements=settings.limits.max_string_elements,
        stats=stats,
        preferred_rows=[n for n in config.preferred_batch_sizes if n <= verdict.max_rows],
    )


def _report(name: str, version: int, verdict: BatchingVerdict, notes: Sequence[str]) -> None:
    # Among much else, the line of the version that is ready says how it is batched.
    say = log.warning if verdict.surprising else log.debug
    say("batching_decided", model=name, version=version, verdict=verdict.words)
    for note in notes:
        log.warning("load_note", model=name, version=version, note=note)


def _output_names(signature: Signature) -> list[str]:
    return [tensor.name for tensor in signature.outputs]


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise LoadCancelledError("the load was cancelled: the version is no longer wanted")


def _trim() -> None:
    """Give freed memory back to the system: glibc keeps half of a model's (C11).

    Runs without the GIL; does nothing where the C library has no such call.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))
