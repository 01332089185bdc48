"""What it takes for a version's runs of many texts to have a process of their own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from serving.execution.isolation.many_texts import ManyTexts
from serving.execution.isolation.parent.on_demand import OnDemand
from serving.execution.isolation.parent.runner import Hosted
from serving.execution.isolation.parent.supervised import IsolatedRunner, host_spec, supervised
from serving.execution.session import Runner, is_for_cpu
from serving.execution.texts_beside import TextsBeside
from serving.loading.low_priority import NICENESS
from serving.loading.memory import Ledger
from serving.loading.trial.trial import Job


def with_texts_beside(
    runner: Runner | IsolatedRunner | TextsBeside,
    job: Job,
    ledger: Ledger,
    memory_bytes: int,
    on_changed: Callable[[], None],
) -> Runner | IsolatedRunner | TextsBeside:
    """The runner, with a child for its runs of many texts where it may have any: it takes or
    gives texts, runs in this process, on the CPU, and nobody forbids children.

    ``memory_bytes``: what the child takes of the ``ledger`` while it is there.
    """
    settings = job.settings
    limit, mode = settings.isolation.texts, job.config.isolation or settings.isolation.mode
    if not isinstance(runner, Runner) or not limit or mode == "none":
        return runner
    if not runner.signature.has_texts or not is_for_cpu(job.config, settings):
        return runner
    name = f"{job.name}:{job.version}"
    open_child = partial(_open, job, ledger, memory_bytes, runner.fingerprint, on_changed)
    return TextsBeside(runner, ManyTexts(limit), OnDemand(name, open_child, on_changed))


def _open(
    job: Job,
    ledger: Ledger,
    memory_bytes: int,
    fingerprint: str,
    on_changed: Callable[[], None],
    started: Callable[[Hosted], None],
) -> IsolatedRunner:
    reservation = ledger.reserve(memory_bytes)
    try:
        spec = host_spec(job.path, job.config, job.settings, job.name)
        spec.message["fingerprint"] = fingerprint
        spec.name = f"{job.name}:{job.version} texts"
        # Whoever sends many texts takes no CPU from others. The start does: until it is over such
        # runs wait, or hold up everybody.
        spec.message["niceness"] = NICENESS
        runner = supervised(spec, job.settings, started)
    except BaseException:
        reservation.release()
        raise
    runner.on_trouble = on_changed
    runner.on_closed = reservation.release
    return runner
