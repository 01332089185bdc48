"""What gates said of a version, as MLflow carries it: a tag and metrics. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from serving.gates.verdict import Check, Verdict

# Of one verdict; what comes first are the checks that failed.
MOST_METRICS = 200
_LONGEST_KEY = 250
# What MLflow takes in a metric's name beside letters and digits.
_REFUSED = re.compile(r"[^\w\-. :/]+", re.ASCII)
_ODD_PATH = re.compile(r"/{2,}|\.{2,}")


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
    """``gates/accuracy``, of a slice ``gates/accuracy/region:EU``; what the answering version has
    under the same name with ``/answering`` behind it."""
    yield "gates/blessed", float(verdict.blessed)
    if verdict.by_person and not verdict.checks:
        return
    yield "gates/requests", float(verdict.requests)
    yield "gates/examples", float(verdict.examples)
    yield "gates/seconds", round(verdict.seconds, 3)
    for check in sorted(verdict.checks, key=lambda one: one.passed):
        name = _name(check)
        for key, value in ((name, check.value), (f"{name}/answering", check.base)):
            if value is not None and math.isfinite(value):
                yield key, float(value)


def _name(check: Check) -> str:
    parts = ["gates", check.name, *([check.slice.replace("=", ":")] if check.slice else [])]
    name = _REFUSED.sub("_", "/".join(parts))
    # Room for what is put behind it.
    return _ODD_PATH.sub("_", name)[: _LONGEST_KEY - len("/answering")]
