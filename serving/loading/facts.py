"""What is known of a loaded version: found by the loader, and shown as it is to everyone else.

A new fact is a field of ``VersionFacts``, and a line in ``facts_of``, which makes it; the admin
port shows it as soon as its schema names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.execution.stated import Stated
from serving.loading import mlflow_inputs
from serving.loading.batching.cost import CostCurve
from serving.loading.enforced import Enforced
from serving.loading.inputs.example import Example
from serving.model_config.schema import ModelConfig
from serving.registry.mlmodel import NOTHING_DECLARED, Declared
from serving.signature import Signature

if TYPE_CHECKING:
    from serving.execution.isolation.parent.supervised import IsolatedRunner
    from serving.execution.session import Runner
    from serving.execution.texts_beside import TextsBeside
    from serving.loading.batching.verdict import BatchingVerdict
    from serving.loading.trial.findings import Findings
    from serving.loading.trial.trial import Job


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """Of a version that is not loaded nothing is known but, perhaps, its configuration.

    ``config``: in force. ``batching``: how it is batched and why, in words; ``max_rows``: of a
    batch, 0 means that each request runs alone. ``provider_nodes``: execution provider -> nodes of
    the graph; ``provider``: the one with most. ``threads``: of the intra-op pool. ``load_seconds``:
    the trial included. ``notes``: what is other than asked for or expected, in words.
    ``memory_bytes``: what it takes, by the trial's measure or its files' sizes, 0 where there is no
    estimate. ``cost``: of a run, by its rows; None where nothing could be measured. ``isolated``:
    why it runs in a child, "" where it does not. ``checked``: whether its samples, or generated
    input, ran. ``opset``: of ONNX's own operators, ``ir_version``: of the file's form; None where
    the file states none. ``declared``: what MLflow says of its inputs, as requests are held against
    it. ``baseline``: the file in its folder with statistics of its training data, "" where there is
    none that can be used. ``example``: a request that ran; None where there is none to be shown.
    """

    config: ModelConfig | None = None
    signature: Signature | None = None
    batching: str = ""
    max_rows: int = 0
    provider: str = ""
    provider_nodes: Mapping[str, int] = field(default_factory=dict)
    threads: int = 0
    instances: int = 0
    load_seconds: float | None = None
    notes: tuple[str, ...] = ()
    memory_bytes: int = 0
    cost: CostCurve | None = None
    isolated: str = ""
    checked: bool = False
    opset: int | None = None
    ir_version: int | None = None
    declared: Declared = NOTHING_DECLARED
    baseline: str = ""
    example: Example | None = field(default=None, compare=False)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The outputs that no protocol can carry, each with its type."""
        return tuple(map(str, self.signature.left_out)) if self.signature is not None else ()


NOTHING_KNOWN = VersionFacts()


@dataclass(frozen=True, slots=True)
class Warmed:
    """A session that has run, and what came to light. ``isolated``, ``checked``, ``notes``,
    ``baseline`` and ``example``: see ``VersionFacts``; ``labels``: output -> what its elements are
    called, one a line; ``enforced``: what its schema asks of requests."""

    job: Job
    runner: Runner | IsolatedRunner | TextsBeside
    found: Findings
    isolated: str
    checked: bool
    notes: tuple[str, ...]
    stated: Stated
    labels: Mapping[str, str]
    enforced: Enforced
    baseline: str = ""
    example: Example | None = None


def facts_of(
    warmed: Warmed,
    verdict: BatchingVerdict,
    config: ModelConfig,
    cost: CostCurve | None,
    memory_bytes: int,
    load_seconds: float,
) -> VersionFacts:
    """As it begins to serve, with a configuration that is in force."""
    runner = warmed.runner
    return VersionFacts(
        config=config,
        signature=runner.signature,
        batching=verdict.words,
        max_rows=verdict.max_rows,
        provider=runner.provider,
        provider_nodes=runner.providers,
        threads=runner.threads,
        instances=config.instances,
        load_seconds=load_seconds,
        notes=warmed.notes,
        memory_bytes=memory_bytes,
        cost=cost,
        isolated=warmed.isolated,
        checked=warmed.checked,
        opset=warmed.stated.opset,
        ir_version=warmed.stated.ir_version,
        declared=mlflow_inputs.fitted(warmed.job.declared, runner.signature),
        baseline=warmed.baseline,
        example=warmed.example,
    )
