"""What Prometheus is told of rollouts."""

from __future__ import annotations

import time
from collections.abc import Iterator

from serving.delivery.controller import Rollouts
from serving.observe import families
from serving.observe.families import Sample
from serving.observe.prometheus import Exposition
from serving.rollout.canary import Rollout
from serving.rollout.evidence import missing


def add_rollouts(exposition: Exposition, rollouts: Rollouts) -> None:
    exposition.add(families.ROLLOUT_SHARE, lambda: _shares(rollouts))
    exposition.add(families.ROLLOUT_PHASE, lambda: _phases(rollouts))
    exposition.add(families.ROLLOUT_PROOF, lambda: _proofs(rollouts))
    exposition.add(families.ROLLOUT_DRIFT, lambda: _drifts(rollouts))
    exposition.add(families.ROLLOUT_OVERDUE, lambda: _overdue(rollouts))
    exposition.add(families.ROLLOUT_ENDED, lambda: _ended(rollouts))


def _under_way(rollouts: Rollouts) -> Iterator[tuple[dict[str, str], Rollout]]:
    for one in rollouts.all():
        if one.under_way:
            yield {"model": one.model, "version": str(one.candidate)}, one


def _shares(rollouts: Rollouts) -> Iterator[Sample]:
    for labels, one in _under_way(rollouts):
        yield labels, one.share / 100


def _phases(rollouts: Rollouts) -> Iterator[Sample]:
    for one in rollouts.all():
        phase = one.phase.value.replace(" ", "_")
        yield {"model": one.model, "version": str(one.candidate), "phase": phase}, 1


def _proofs(rollouts: Rollouts) -> Iterator[Sample]:
    for labels, one in _under_way(rollouts):
        yield labels, 1 - missing(one.evidence, rollouts.rules_of(one.model))


def _drifts(rollouts: Rollouts) -> Iterator[Sample]:
    for labels, one in _under_way(rollouts):
        drift = one.evidence.drift
        for of, found in (("classes", drift.classes), ("scores", drift.scores)):
            if found.last is not None:
                yield {**labels, "of": of}, found.last.apart
        last = drift.features.last
        for of, far in (last.farthest or {}).items() if last is not None else ():
            yield {**labels, "of": of}, far.distance


def _overdue(rollouts: Rollouts) -> Iterator[Sample]:
    now = time.time()
    for labels, one in _under_way(rollouts):
        yield labels, max(0.0, now - one.changed - one.steps.every_s)


def _ended(rollouts: Rollouts) -> Iterator[Sample]:
    for (model, outcome), count in sorted(rollouts.outcomes.counts().items()):
        yield {"model": model, "outcome": outcome}, count
