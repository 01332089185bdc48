"""The end of a load: a warm session becomes a slot that pulls batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from serving.events import log
from serving.execution.instances import Instances
from serving.loading.batching.analysis import why_never
from serving.loading.batching.cost import CostCurve
from serving.loading.batching.live_proof import LiveProof
from serving.loading.batching.verdict import (
    BatchingVerdict,
    Evidence,
    decide,
    intent,
    on_providers,
    undecided,
)
from serving.loading.facts import VersionFacts, Warmed, facts_of
from serving.loading.loaded import LoadedSlot, in_force, make_queue
from serving.loading.trial.trial import Job
from serving.model_config.schema import ModelConfig

if TYPE_CHECKING:
    from serving import _core
    from serving.execution.recovery import AnyRunner


def start(
    warmed: Warmed,
    stats: _core.Stats | None,
    since: float,
    memory_bytes: int,
    on_evidence: Callable[[Evidence], None],
    on_closed: Callable[[], None],
) -> LoadedSlot:
    """Make the queue and start its instances.

    ``since``: the monotonic time at which the load began. ``on_evidence`` hears when real
    requests settled whether it may be batched, ``on_closed`` when the slot has gone.
    """
    from serving import _core

    job, runner, found = warmed.job, warmed.runner, warmed.found
    cost = found.cost
    verdict, config = _preferring(_verdict(warmed), cost, job.config)
    config = in_force(config, job.settings)
    stats = _core.Stats(job.name, job.version) if stats is None else stats
    of = (job.name, job.version)
    queue = make_queue(
        runner.signature, verdict, config, job.settings, stats, of, warmed.labels, job.declared
    )
    if found.seconds:
        queue.expect_runs(found.seconds[min(found.seconds)])
    warmed.enforced.begin(queue)
    served: AnyRunner = runner
    verdict_now, end_proof = (lambda: verdict), _nothing
    if verdict.open:
        served = live = _live_proof(warmed, verdict, queue, on_evidence)
        verdict_now, end_proof = (lambda: live.verdict), live.close

    def close_down() -> None:
        end_proof()
        on_closed()

    load_seconds = time.monotonic() - since
    facts = facts_of(warmed, verdict, config, cost, memory_bytes, load_seconds)
    _report(job, facts, warmed.enforced.notes, surprising=verdict.surprising)
    return LoadedSlot(
        name=job.name,
        version=job.version,
        queue=queue,
        runner=runner,
        instances=Instances(queue, served, config.instances, f"{job.name}:{job.version}"),
        facts_at_start=facts,
        verdict_now=verdict_now,
        stats=stats,
        on_closed=close_down,
        enforced=warmed.enforced,
    )


def _nothing() -> None:
    pass


def _live_proof(
    warmed: Warmed,
    verdict: BatchingVerdict,
    queue: _core.Queue,
    on_evidence: Callable[[Evidence], None],
) -> LiveProof:
    """Let real requests test the batching of this version."""
    job = warmed.job

    def settle(evidence: Evidence, settled: BatchingVerdict) -> None:
        if settled.batched:
            preferred = [n for n in job.config.preferred_batch_sizes if n <= settled.max_rows]
            queue.batch_from_now_on(settled.max_rows, preferred, settled.may_cut)
        log.info("batching_settled", model=job.name, version=job.version, verdict=settled.words)
        on_evidence(evidence)

    def judge(evidence: Evidence) -> BatchingVerdict:
        return _verdict(replace(warmed, found=replace(warmed.found, evidence=evidence)))

    signature, tolerance = warmed.runner.signature, job.config.tolerance
    return LiveProof(warmed.runner, signature, tolerance, verdict, judge, settle)


def _verdict(warmed: Warmed) -> BatchingVerdict:
    """What killed its trial is not asked of real requests either."""
    found, wanted = warmed.found, intent(warmed.job.config, warmed.job.settings)
    used = {warmed.runner.provider, *warmed.runner.providers}
    if found.died:
        why = f"its trial ended with {found.died} on generated input"
        return undecided(wanted, why, why_never(warmed.runner.signature))
    return decide(wanted, on_providers(found.analysis, used), found.evidence)


def _preferring(
    verdict: BatchingVerdict, cost: CostCurve | None, config: ModelConfig
) -> tuple[BatchingVerdict, ModelConfig]:
    """Cut batches at the cheapest size, unless the configuration names others."""
    best = cost.best_rows if cost is not None else None
    if not best or best >= verdict.max_rows or config.preferred_batch_sizes:
        return verdict, config
    verdict = replace(verdict, words=f"{verdict.words}; cheapest at {best} a run")
    return verdict, replace(config, preferred_batch_sizes=(best,))


def _report(job: Job, facts: VersionFacts, more: Sequence[str], *, surprising: bool) -> None:
    """``more``: notes that change while it serves."""
    # Among much else, the line of the version that is ready says how it is batched.
    say = log.warning if surprising else log.debug
    say("batching_decided", model=job.name, version=job.version, verdict=facts.batching)
    for note in (*facts.notes, *more):
        log.warning("load_note", model=job.name, version=job.version, note=note)
