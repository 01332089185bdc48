"""What gates said of a version, as MLflow carries it: a tag and metrics. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from serving.gates.verdict import Verdict

# Of one verdict; what comes first are the checks that failed.
MOST_METRICS = 200
# Of the three parts of a name that has 250 characters at most.
_LONGEST_PART = 70
# What every MLflow server takes in a metric's name beside letters and digits.
_REFUSED = re.compile(r"[^\w\-. ]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Judgement:
    """``word``: BLESSED or NOT_BLESSED; ``at``: seconds since the epoch; ``run``: the run that the
    version came from, "" for none; ``metrics``: name -> value, of that run."""

    model: str
    version: int
    word: str
    at: float
    run: str
    metrics: tuple[tuple[str, float], ...] = ()


def judgement_of(model: str, version: int, run: str, verdict: Verdict) -> Judgement:
    metrics = dict(_metrics(verdict)) if run else {}
    kept = tuple(list(metrics.items())[:MOST_METRICS])
    return Judgement(model, version, verdict.word, verdict.at, run, kept)


def _metrics(verdict: Verdict) -> Iterator[tuple[str, float]]:
    """``gates/accuracy``, of a slice ``gates/slices/region/EU/accuracy``; what the answering
    version has in the group ``answering`` there. A server may keep metrics as files: none is the
    folder of another."""
    yield "gates/blessed", float(verdict.blessed)
    if verdict.by_person and not verdict.checks:
        return
    yield "gates/requests", float(verdict.requests)
    yield "gates/examples", float(verdict.examples)
    yield "gates/seconds", round(verdict.seconds, 3)
    for check in sorted(verdict.checks, key=lambda one: one.passed):
        group, name = _group(check.slice), _part(check.name)
        for key, value in (
            (f"{group}/{name}", check.value),
            (f"{group}/answering/{name}", check.base),
        ):
            if value is not None and math.isfinite(value):
                yield key, float(value)


def _group(slice_: str) -> str:
    """``slice_``: ``column=value``, "" for all examples."""
    if not slice_:
        return "gates"
    column, _, value = slice_.partition("=")
    return f"gates/slices/{_part(column)}/{_part(value)}"


def _part(text: str) -> str:
    """As a part of a path that leads nowhere else."""
    part = _REFUSED.sub("_", text)[:_LONGEST_PART]
    return part if part.strip(".") else "_"
