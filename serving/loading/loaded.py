"""A version that runs batches: made at the end of a load, closed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serving.errors import ErrorCode
from serving.execution.instances import Instances
from serving.execution.isolation.parent.supervised import IsolatedRunner
from serving.execution.session import Runner
from serving.execution.texts_beside import TextsBeside
from serving.loading import mlflow_inputs
from serving.loading.batching.verdict import BatchingVerdict
from serving.loading.enforced import Enforced
from serving.loading.facts import VersionFacts
from serving.model_config.reshape import described_shape
from serving.model_config.schema import ModelConfig
from serving.model_config.signatures import fitted, for_core
from serving.registry.mlmodel import NOTHING_DECLARED, Declared
from serving.settings import Settings
from serving.signature import Signature, Tensor

if TYPE_CHECKING:
    from serving import _core


@dataclass(frozen=True, slots=True)
class LoadedSlot:
    """The queue of a version, its session and the threads between them.

    ``verdict_now``: how it is batched now; real requests may change it. ``on_closed`` is called
    last.
    """

    name: str
    version: int
    queue: _core.Queue
    runner: Runner | IsolatedRunner | TextsBeside
    instances: Instances
    facts_at_start: VersionFacts
    verdict_now: Callable[[], BatchingVerdict]
    stats: _core.Stats
    on_closed: Callable[[], None]
    enforced: Enforced

    @property
    def verdict(self) -> BatchingVerdict:
        """Whether it is batched, and why or why not; ``max_rows`` stays as long as the slot."""
        return self.verdict_now()

    @property
    def facts(self) -> VersionFacts:
        """What is known of it now: since it began to serve, its batching may have been settled,
        the child that it runs in may have ended, and its schema may have been edited."""
        known, trouble, batching = self.facts_at_start, self.runner.trouble, self.verdict.words
        asked = self.enforced.notes
        if not trouble and not asked and batching == known.batching:
            return known
        notes = (*known.notes, *asked, *filter(None, [trouble]))
        return replace(known, batching=batching, notes=notes)

    @property
    def process(self) -> IsolatedRunner | None:
        """The child that it runs in, or that its runs of many texts do, if there is one."""
        if isinstance(self.runner, TextsBeside):
            return self.runner.process
        return self.runner if isinstance(self.runner, IsolatedRunner) else None

    def look_beside(self, folder: Path) -> bool:
        """Take up what changed beside the versions, in the model's folder, and makes no new slot:
        its schema. Reads files; whether ``facts`` are others."""
        return self.enforced.look(folder)

    def shut(self) -> bool:
        """Take no more requests; whether ``close`` has nothing to wait for then, nor a child."""
        self.queue.close()
        depth = self.queue.depth()
        return self.process is None and not depth["requests"] and not depth["executing"]

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
            self.queue.abort(ErrorCode.UNAVAILABLE, f"version {self.version} is being unloaded")
        self.runner.close()
        self.on_closed()
        return done


_LIMITS = ("delay_us", "max_queue_requests", "max_queue_rows", "max_queue_bytes")


def in_force(config: ModelConfig, settings: Settings) -> ModelConfig:
    """The configuration with the server's own limits where the model states none."""
    silent = [key for key in _LIMITS if getattr(config, key) is None]
    return replace(config, **{key: getattr(settings.batching, key) for key in silent})


def make_queue(
    signature: Signature,
    verdict: BatchingVerdict,
    config: ModelConfig,
    settings: Settings,
    stats: _core.Stats,
    of: tuple[str, int],
    labels: Mapping[str, str],
    declared: Declared = NOTHING_DECLARED,
) -> _core.Queue:
    """The line of the model and version ``of``, by a configuration that is ``in_force``.
    ``labels``: output -> what its elements are called, one a line; ``declared``: what MLflow says
    of its inputs."""
    from serving import _core

    declared = mlflow_inputs.fitted(declared, signature)

    def spec(tensor: Tensor, names: str | None = None) -> _core.TensorSpec:
        described = described_shape(tensor, verdict.max_rows)
        return _core.TensorSpec(
            tensor.name,
            tensor.datatype,
            tensor.shape,
            tensor.optional,
            None if described == tensor.shape else described,
            always_described=tensor.described is not None,
            labels=names,
        )

    return _core.Queue(
        model=of[0],
        version=of[1],
        inputs=[spec(tensor) for tensor in signature.inputs],
        outputs=[spec(tensor, labels.get(tensor.name)) for tensor in signature.outputs],
        max_rows=verdict.max_rows,
        **{key: getattr(config, key) for key in _LIMITS},
        priority_levels=config.priority_levels,
        default_priority=config.default_priority,
        default_timeout_us=config.default_timeout_us,
        max_string_elements=settings.limits.max_string_elements,
        # A batch is no larger than the largest request.
        max_batch_bytes=settings.limits.max_message_bytes,
        stats=stats,
        preferred_rows=[n for n in config.preferred_batch_sizes if n <= verdict.max_rows],
        may_cut=verdict.may_cut,
        left_out=[(one.name, one.why) for one in signature.left_out],
        schema=_core.Schema(
            declared.form,
            [
                (f.name, f.datatype, f.shape, f.required, f.kind, f.values, f.lists)
                for f in declared.fields
            ],
            declared.params,
            strict=settings.mlflow.strict,
            lossy=settings.mlflow.lossy_casts,
            terse=not settings.mlflow.schema_details,
            unusable=declared.unusable,
        ),
        level_policies=[
            (one.level, one.default_timeout_us, one.max_queue_requests)
            for one in config.level_policies
        ],
        signatures=for_core(fitted(config.signatures, signature)),
    )
