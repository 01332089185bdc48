"""Running a new version before it serves: samples, proof of batching, warming, measuring.

The same code runs in the trial's child and, without a trial, in the server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.execution.faults import short_of_memory
from serving.model_config.schema import ModelConfig
from serving.models.loading import proof, warmup
from serving.models.loading.findings import Findings, Recipe
from serving.models.loading.memory import Meter
from serving.models.loading.samples import Sample, run_all, sampled_rows
from serving.models.loading.warmup import Array, Plan, Run, Source
from serving.settings import Settings
from serving.signature import Signature


def rehearse(
    inner: Run,
    signature: Signature,
    config: ModelConfig,
    settings: Settings,
    samples: Sequence[Sample],
    meter: Meter,
) -> Findings:
    """Everything that generated input can tell; the samples have run already.

    Raises LoadError only where the run, ``inner``, does: input that does not run is a finding.
    """
    hints = [sample.feeds for sample in samples]
    short: list[bool] = []

    def run(names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Any]:
        try:
            return inner(names, feeds)
        except Exception as error:
            if short_of_memory(error):
                short.append(True)
            raise

    wanted = proof.intent(config, settings)
    by_rows = bool(wanted.max_rows) and signature.may_batch
    plan = warmup.find_plan(run, signature, by_rows, hints)
    plans: list[Plan | None] = [plan]
    if by_rows and any(tensor.optional for tensor in signature.inputs):
        plans.append(warmup.find_plan(run, signature, by_rows, hints, with_optional=True))
    sampled = sampled_rows(samples, signature) if by_rows else None
    verdict = proof.prove(run, signature, wanted, config.tolerance, plans, sampled)
    source: Source | None = plan or sampled
    notes = [] if plan is not None else [_not_run(bool(hints), bool(short))]
    if source is None:
        return Findings(verdict, tuple(notes), memory_bytes=meter.grown)
    sizes = warmup.warm_sizes(verdict.max_rows or 1, config.preferred_batch_sizes)
    words, seconds = warmup.warm(
        run,
        source,
        output_names(signature),
        sizes if source.by_rows else [1],
        settings.loading.warmup_timeout_s,
        meter,
    )
    recipe = Recipe.of(plan) if plan is not None else Recipe("sampled")
    notes += [words] if words else []
    return Findings(verdict, tuple(notes), seconds, recipe, meter.grown)


def repeat(
    run: Run,
    signature: Signature,
    settings: Settings,
    samples: Sequence[Sample],
    findings: Findings,
) -> str:
    """Warm what a trial has tried: the samples, and each size that it measured. Words for
    what was left out; raises LoadError for a sample that fails here."""
    run_all(run, signature, samples)
    source = _source(findings.recipe, signature, samples)
    if source is None or findings.died:
        return ""
    limit = settings.loading.warmup_timeout_s
    return warmup.run_each(run, source, output_names(signature), sorted(findings.seconds), limit)


def _source(
    recipe: Recipe | None, signature: Signature, samples: Sequence[Sample]
) -> Source | None:
    if recipe is None:
        return None
    if recipe.kind == "sampled":
        return sampled_rows(samples, signature)
    return recipe.plan(signature)


def output_names(signature: Signature) -> list[str]:
    return [tensor.name for tensor in signature.outputs]


def _not_run(has_samples: bool, short: bool) -> str:
    if short:
        return "generated input did not run: it would take too much memory"
    slow = "" if has_samples else ": the first requests will be slow"
    return f"generated input did not run{slow}"
