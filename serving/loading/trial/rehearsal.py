"""Running a new version before it serves: samples, a witness of its batching, warming, measuring.

The same code runs in the trial's child and, without a trial, in the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from serving.execution.faults import short_of_memory
from serving.execution.onnx_nodes import Model
from serving.loading import threads, warmup
from serving.loading.batching.analysis import Analysis, analyse_graph
from serving.loading.batching.steps import Steps, steps_of
from serving.loading.batching.verdict import (
    NO_EVIDENCE,
    Evidence,
    Intent,
    decide,
    intent,
    most_rows,
    needs_test,
)
from serving.loading.batching.witness import Tap, Witness
from serving.loading.inputs import generated
from serving.loading.inputs.generated import Plan, Run, Source
from serving.loading.inputs.samples import Sample, repeat_all, sampled_rows
from serving.loading.memory import Meter
from serving.loading.trial.findings import Findings, Recipe
from serving.model_config.schema import ModelConfig
from serving.settings import Settings
from serving.signature import Signature


@dataclass(frozen=True, slots=True)
class Subject:
    """``graph``: the model's, None where it can't be read. ``tap``: how to look inside it.
    ``divides``: some input could end the process, so none that is out of the way is tried.
    ``alone``: nothing else goes on in the process that runs it."""

    graph: Model | None
    tap: Tap | None = None
    divides: bool = False
    alone: bool = False


class _Short:
    """Whether memory was short for anything that was tried."""

    def __init__(self) -> None:
        self.seen = False

    def note(self, error: Exception) -> None:
        self.seen |= short_of_memory(error)


def rehearse(
    run: Run,
    signature: Signature,
    config: ModelConfig,
    settings: Settings,
    samples: Sequence[Sample],
    meter: Meter,
    subject: Subject,
) -> Findings:
    """What the graph and generated input can tell; the samples have run already.

    Raises LoadError only where ``run`` does: input that does not run is a finding.
    """
    hints = [sample.feeds for sample in samples]
    short = _Short()
    wanted = intent(config, settings)
    by_rows = bool(wanted.max_rows) and signature.may_batch
    find = partial(generated.find_plan, run, signature, by_rows, hints, on_failure=short.note)
    plan = find()
    plans: list[Plan | None] = [plan]
    if by_rows and any(tensor.optional for tensor in signature.inputs):
        plans.append(find(with_optional=True))
    sampled = sampled_rows(samples, signature) if by_rows else None
    analysis = analyse_subject(subject, signature, wanted, config, settings)
    evidence = NO_EVIDENCE
    if needs_test(wanted, analysis):
        witness = _witness(run, signature, config, subject, analysis)
        evidence = _examined(witness, plans, sampled)
        short.seen |= witness.short
    verdict = decide(wanted, analysis, evidence)
    source: Source | None = plan or sampled
    notes = [] if plan is not None else [_not_run(bool(hints), short.seen)]
    if source is None:
        return Findings(
            analysis, evidence, tuple(notes), memory_bytes=meter.grown, short=short.seen
        )
    sizes = warmup.warm_sizes(verdict.max_rows or 1, config.preferred_batch_sizes)
    warmth = warmup.warm(
        run,
        source,
        output_names(signature),
        sizes if source.by_rows else [1],
        settings.loading.warmup_timeout_s,
        meter,
        alone=subject.alone,
    )
    recipe = Recipe.of(plan) if plan is not None else Recipe("sampled")
    notes += [warmth.words] if warmth.words else []
    return Findings(
        analysis,
        evidence,
        tuple(notes),
        warmth.seconds,
        recipe,
        meter.grown,
        short=short.seen or warmth.short,
        one_thread=warmth.one_thread
        and subject.graph is not None
        and not threads.has_branches(subject.graph)
        and threads.says_it_all(signature, verdict, warmth.seconds),
    )


def analyse_subject(
    subject: Subject,
    signature: Signature,
    wanted: Intent,
    config: ModelConfig,
    settings: Settings,
) -> Analysis:
    """What the graph says; open where it can't be read, or nobody wants to know."""
    if not wanted.max_rows:
        return Analysis("open", why=wanted.words)
    if subject.graph is None:
        return Analysis("open", why="the graph can't be read")
    return analyse_graph(subject.graph, signature, most_rows(wanted, config, settings))


def _witness(
    run: Run, signature: Signature, config: ModelConfig, subject: Subject, analysis: Analysis
) -> Witness:
    return Witness(
        run,
        output_names(signature),
        config.tolerance,
        steps_of(subject.graph) if subject.graph is not None else Steps(),
        subject.tap,
        analysis.lost if analysis.kind == "open" else (),
        tame=subject.divides,
    )


def _examined(witness: Witness, plans: Sequence[Source | None], sampled: Source | None) -> Evidence:
    """Where the user's own rows show something, generated ones need not."""
    found = witness.examine(plans)
    if sampled is None or found.disproved:
        return found
    own = witness.examine([sampled])
    if own.disproved or not own.unknown:
        rest = witness.examine(plans[1:]) if len(plans) > 1 else Evidence()
        return own if own.disproved else replace(rest, rounding=own.rounding or rest.rounding)
    return found


def repeat(
    run: Run,
    signature: Signature,
    settings: Settings,
    samples: Sequence[Sample],
    findings: Findings,
) -> str:
    """Warm what a trial has tried: the samples, and each size that it measured. Words for
    what was left out; raises LoadError for a sample that fails here."""
    limit = settings.loading.warmup_timeout_s
    words = repeat_all(run, signature, samples, limit)
    source = _source(findings.recipe, signature, samples)
    if source is None or findings.died:
        return words
    sizes = sorted(findings.seconds)
    more = warmup.run_each(run, source, output_names(signature), sizes, limit)
    return "; ".join(filter(None, (words, more)))


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
