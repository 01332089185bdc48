"""From a version's folder to a slot that serves: check, try, load, warm, start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from serving.cancellation import Cancellation
from serving.counters import Counters
from serving.errors import ConfigError, LoadError, Retry
from serving.execution.files import file_bytes
from serving.execution.isolation.integer_division import graph_divides_integers
from serving.execution.isolation.isolation_policy import isolation_reason
from serving.execution.isolation.parent import starting
from serving.execution.isolation.parent.supervised import IsolatedRunner, load_isolated_runner
from serving.execution.isolation.value_growth import growth
from serving.execution.onnx_nodes import read_file_nodes
from serving.execution.private_copy import places, remove_dead
from serving.execution.run_limit import start_watching
from serving.execution.runtime import ort
from serving.execution.session import Array, Output, Runner, is_for_cpu, load_runner, makes_threads
from serving.execution.stated import Stated, stated_by
from serving.loading import mlflow_inputs, mlflow_model, threads
from serving.loading.baseline import found_baseline
from serving.loading.batching.verdict import Evidence
from serving.loading.beside import with_texts_beside
from serving.loading.enforced import Enforced, Terms
from serving.loading.facts import Warmed
from serving.loading.inputs.example import example_of
from serving.loading.inputs.samples import Samples, Sources, collect, run_all
from serving.loading.loaded import LoadedSlot
from serving.loading.low_priority import Result, run_low_priority
from serving.loading.memory import Ledger, Meter, Reservation, check_alone, model_budget
from serving.loading.starting import start
from serving.loading.stateful import check_stateless
from serving.loading.tapping import tap_of
from serving.loading.trial import trial
from serving.loading.trial.cache import TrialCache, name_of
from serving.loading.trial.findings import Failure, Findings
from serving.loading.trial.rehearsal import Subject, rehearse, repeat
from serving.loading.trial.room import TrialRoom
from serving.loading.trial.trial import Job, LoadCancelledError, Trial
from serving.loading.trim import Trimmer
from serving.model_config.labels import labels_of
from serving.model_config.schema import ModelConfig
from serving.registry.manifest import has_manifest, read_manifest, verify
from serving.settings import Settings
from serving.signature import Signature, left_out_notes
from serving.state_dir import StateDir

if TYPE_CHECKING:
    from serving import _core


# How a trial ends: the version may serve; its input ended the child; it may not serve; no
# verdict came of it; an earlier one counts still.
TRIAL_OUTCOMES = ("passed", "died", "refused", "failed", "kept")


# The samples, what is known of the version, and words for sizes that could not be warmed.
_Warm = tuple[Samples, Findings, str]


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True)
class _Load:
    """One call of the loader."""

    job: Job
    fingerprint: str
    stats: _core.Stats | None
    cancelled: Cancellation
    on_trying: Callable[[], None]
    on_warming: Callable[[], None]
    on_changed: Callable[[], None]
    since: float
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        if self.cancelled():
            raise LoadCancelledError


class Loader:
    """Loads versions, within the memory for all of them; keeps what their trials found out.

    ``state``: where that outlives the process. ``trials`` counts them by outcome
    (``TRIAL_OUTCOMES``). Calls may come from several threads at once.
    """

    def __init__(self, settings: Settings, state: StateDir | None = None) -> None:
        self._ledger = Ledger(settings.models_bytes)
        self._kept = TrialCache(state or StateDir(None))
        self._trial = Trial(most_idle=settings.loads + 1)
        # Those that give way go on beside others.
        self._room = TrialRoom(self._ledger, places=2 * settings.loads)
        self._trimmer = Trimmer()
        self._places = places(settings.state_dir)
        remove_dead(self._places)
        self.trials = Counters([(outcome,) for outcome in TRIAL_OUTCOMES])
        # Not by the first run, which may be of low priority.
        start_watching()
        self._tries = trial.is_wanted(ModelConfig(), settings)
        # Its imports take most of a second, also where it is forked from what has made them; what
        # was tried before needs no child.
        if self._tries and not self._kept.any:
            self._trial.prepare()

    def close(self) -> None:
        """End the trials' children that are idle. Loads under way go on."""
        self._trial.close()

    def expect(self) -> None:
        """Something changed where versions come from: there may be one to be tried. What its child
        is forked from gets ready while the files settle."""
        if self._tries:
            starting.prepare()

    @contextmanager
    def lend(self, size: int) -> Iterator[None]:
        """So many bytes of the memory for all versions, for who runs some beside them, until it is
        left. Raises LoadError, to be tried later."""
        reservation = self._ledger.reserve(size)
        try:
            yield
        finally:
            reservation.release()

    @property
    def held_bytes(self) -> int:
        """What all loaded versions, and those being loaded, take by their estimates."""
        return self._ledger.held

    def __call__(
        self,
        *,
        name: str,
        version: int,
        path: Path,
        config: ModelConfig,
        settings: Settings,
        stats: _core.Stats | None = None,
        cancelled: Cancellation | None = None,
        on_trying: Callable[[], None] = _nothing,
        on_warming: Callable[[], None] = _nothing,
        on_changed: Callable[[], None] = _nothing,
        folder: Path | None = None,
        fingerprint: str = "",
    ) -> LoadedSlot:
        """Load the version in folder ``path``, warm it, prove its batching, start its
        instances.

        ``folder`` is the model's own (default: the one above). ``fingerprint`` of files and
        configuration: without one no trial is remembered. ``stats`` goes on counting for a
        version loaded again. ``cancelled`` is asked between runs and ends the trial.
        ``on_trying`` is called when a trial's child has begun with the version itself,
        ``on_warming`` when the session is there and the first run is next,
        ``on_changed`` when real requests changed the slot's verdict.

        Raises LoadError with the reason, LoadCancelledError when ``cancelled`` said so.
        """
        from serving import _core

        since = time.monotonic()
        saved = mlflow_model.of_version(path, config, settings)
        config = saved.config
        size = file_bytes(path, config.model_filename)
        job = Job(
            name=name,
            version=version,
            path=path,
            folder=folder or path.parent,
            config=config,
            settings=settings,
            named=run_low_priority(partial(_verified, path)) if has_manifest(path) else (),
            size=size,
            budget=model_budget(config, settings),
            declared=saved.declared,
        )
        check_alone(size, job.budget, "its files have")
        ending = cancelled or Cancellation()
        load = _Load(
            job, fingerprint, stats, ending, on_trying, on_warming, on_changed, since, saved.notes
        )
        load.check()
        try:
            with (
                _core.Computing(),
                self._kept.gathering(),
                self._ledger.reserve(size) as reservation,
            ):
                return self._tried_and_loaded(load, reservation)
        except BaseException:
            remove_dead(self._places)  # a child that ended in the middle of a load leaves a copy
            raise

    def _tried_and_loaded(self, load: _Load, reservation: Reservation) -> LoadedSlot:
        labels = _labels(load.job)
        found = self._tried(load)
        if found is not None and found.memory_bytes:
            # What guessed input took on top may be more than any request does.
            check_alone(found.loaded_bytes, load.job.budget, "it takes")
            reservation.resize(found.memory_bytes)
        return self._load(load, found, labels, reservation)

    def _tried(self, load: _Load) -> Findings | None:
        """What a trial found out, now or before; None where none is wanted."""
        job = load.job
        if not trial.is_wanted(job.config, job.settings):
            return None
        name = _trial_name(load)
        kept = self._kept.read(name) if name else None
        if kept is not None:
            self.trials.add("kept")
            return kept
        outcome = self._run_trial(load)
        if isinstance(outcome, Failure):
            raise outcome.error()
        if name and outcome.lasts:
            self._kept.write(name, outcome)
        return outcome

    def _run_trial(self, load: _Load) -> Findings | Failure:
        run = partial(self._trial.run, cancelled=load.cancelled, on_ready=load.on_trying)
        try:
            outcome = self._room.try_out(load.job, run, load.cancelled)
        except LoadError:
            if not load.cancelled():
                self.trials.add("failed")
            raise
        if isinstance(outcome, Failure):
            self.trials.add("refused")
        else:
            self.trials.add("died" if outcome.died else "passed")
        return outcome

    def _load(
        self,
        load: _Load,
        found: Findings | None,
        labels: Mapping[str, str],
        reservation: Reservation,
    ) -> LoadedSlot:
        job = load.job
        load.check()
        stated = stated_by(job.path, job.config.model_filename)
        isolated = _isolated(job, found, stated)
        runner, (samples, found, words) = _opened_and_warmed(load, found, bool(isolated))
        try:
            load.check()
            left_out = left_out_notes(runner.signature.left_out)
            scoring = _scoring_note(job, runner)
            notes = (*runner.notes, *load.notes, *scoring, *left_out, *samples.notes, *found.notes)
            notes += (words,) if words else ()
            checked = bool(samples.samples) or found.recipe is not None
            example = example_of(samples.samples, found.plan(runner.signature))
            baseline, more = found_baseline(job.path)
            notes += more
            enforced = _enforced(job, runner.signature)
            warmed = Warmed(
                *(job, runner, found, isolated, checked, notes, stated, labels, enforced),
                *(baseline, example),
            )
            if isinstance(runner, IsolatedRunner):
                runner.on_trouble = load.on_changed
            return self._start(load, warmed, reservation)
        except BaseException:
            runner.close()
            raise

    def _start(self, load: _Load, warmed: Warmed, reservation: Reservation) -> LoadedSlot:
        def on_evidence(evidence: Evidence) -> None:
            """Real requests told what nothing else could: so does the next start."""
            name = _trial_name(load)
            if name:
                self._kept.write(name, replace(warmed.found, evidence=evidence))
            load.on_changed()

        def on_closed() -> None:
            reservation.release()
            self._trimmer.ask()

        runner = with_texts_beside(
            warmed.runner, load.job, self._ledger, reservation.size, load.on_changed
        )
        warmed = replace(warmed, runner=runner)
        try:
            return start(warmed, load.stats, load.since, reservation.size, on_evidence, on_closed)
        except BaseException:
            runner.close()  # with what is beside it, of which the caller knows nothing
            raise


def _isolated(job: Job, found: Findings | None, stated: Stated) -> str:
    """Why the version runs in a child, '' where it does not. What it would take a walk over
    the file to know is asked only where it matters."""
    reason = partial(
        isolation_reason,
        job.config,
        job.settings,
        trial_died=found is not None and bool(found.died),
        sparse_functions=stated.sparse_functions,
    )
    decided = reason(integer_div=False)
    if decided or not reason(integer_div=True):
        return decided
    if found is not None:
        return reason(integer_div=found.divides, grows=found.grows)
    graph = read_file_nodes(job.path, job.config.model_filename)
    if graph is None:
        return ""
    return reason(integer_div=graph_divides_integers(graph), grows=growth(graph))


def _enforced(job: Job, signature: Signature) -> Enforced:
    given = job.config.validation
    terms = Terms(job.name, job.version, signature, job.declared, given, job.settings)
    return Enforced(terms, job.path, job.folder)


def _scoring_note(job: Job, runner: Runner | IsolatedRunner) -> tuple[str, ...]:
    """Other protocols know nothing of MLflow's signature, so the version serves all the same."""
    unusable = mlflow_inputs.fitted(job.declared, runner.signature).unusable
    return (f"MLflow's scoring requests of it are refused: {unusable}",) if unusable else ()


def _labels(job: Job) -> Mapping[str, str]:
    """Those that the configuration names. Raises LoadError."""
    try:
        return labels_of(job.config, job.folder)
    except ConfigError as error:
        raise LoadError(str(error), retry=Retry.ON_CHANGE) from None


def _verified(path: Path) -> tuple[str, ...]:
    """The samples that the version's manifest names, once its files agree with it."""
    manifest = read_manifest(path)
    if manifest is None:
        return ()
    verify(path, manifest)
    return manifest.samples


def _trial_name(load: _Load) -> str:
    """Under which its trial is kept; '' where it is not."""
    if not load.fingerprint or not trial.is_wanted(load.job.config, load.job.settings):
        return ""
    job, module = load.job, ort()
    runtime = (module.__version__, *module.get_available_providers())
    return name_of(load.fingerprint, job.config, job.settings, job.folder, runtime)


def _sources(job: Job) -> Sources:
    limits = job.settings.limits
    bounds = limits.max_message_bytes, limits.max_string_elements
    return Sources(job.path, job.folder, job.named, *bounds)


def _opened_and_warmed(
    load: _Load, found: Findings | None, isolated: bool
) -> tuple[Runner | IsolatedRunner, _Warm]:
    job = load.job
    config = threads.in_force(job.config, job.settings, found)

    def work() -> tuple[Runner | IsolatedRunner, _Warm]:
        opened = load_isolated_runner if isolated else load_runner
        runner = opened(job.path, config, job.settings, job.name)
        try:
            load.on_warming()
            warmed = partial(_warmed, load, runner, found)
            return runner, _at_low_priority(job, warmed, isolated)
        except BaseException:
            runner.close()
            raise

    # The threads that a session makes for itself serve later.
    usual = isolated or makes_threads(config, job.settings)
    return work() if usual else _at_low_priority(job, work)


def _at_low_priority(job: Job, work: Callable[[], Result], isolated: bool = False) -> Result:
    """At a low priority, where nothing that serves later would inherit it: a child may have
    to be started anew, and a GPU's libraries start threads when they like."""
    at_once = isolated or not is_for_cpu(job.config, job.settings)
    return work() if at_once else run_low_priority(work)


def _subject(job: Job, runner: Runner | IsolatedRunner) -> Subject:
    """What a trial's child would look at. What runs in a child is not opened here."""
    graph = read_file_nodes(job.path, job.config.model_filename)
    if graph is not None:
        check_stateless(graph)
    divides = graph is not None and graph_divides_integers(graph)
    inside = (
        None if isinstance(runner, IsolatedRunner) else tap_of(job.path, job.config, job.settings)
    )
    return Subject(graph, inside, divides)


def _warmed(load: _Load, runner: Runner | IsolatedRunner, found: Findings | None) -> _Warm:
    """Warm what a trial has tried, or find out here what it would have."""
    job, signature = load.job, runner.signature
    samples = collect(_sources(job), signature, job.config)

    def run(names: Sequence[str], feeds: Mapping[str, Array]) -> Sequence[Output]:
        load.check()
        return runner.run(names, feeds)

    if found is not None:
        return samples, found, repeat(run, signature, job.settings, samples.samples, found)
    run_all(run, signature, samples.samples)
    meter = Meter(job.budget)
    made = rehearse(
        run, signature, job.config, job.settings, samples.samples, meter, _subject(job, runner)
    )
    return samples, made, ""
