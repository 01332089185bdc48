"""From slots to a verdict: what is kept, and else what the gates' judge says. For threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol

from serving.cancellation import Cancellation
from serving.datasets import files
from serving.errors import LoadError
from serving.events import log
from serving.gates.case import Case, Subject, data_of
from serving.gates.judge import Judge, NotNowError
from serving.gates.recorded import Recorded
from serving.gates.room import JudgingRoom, Lend
from serving.gates.terms import Terms
from serving.gates.verdict import Verdict
from serving.gates.verdicts import Answered, Verdicts, key_of
from serving.loading import mlflow_model
from serving.loading.facts import VersionFacts
from serving.loading.low_priority import run_low_priority
from serving.loading.memory import model_budget
from serving.model_config.gates import GatesConfig
from serving.model_config.schema import ModelConfig
from serving.models.state import SlotKey
from serving.registry.snapshot import Fetched, Origin
from serving.settings import Settings

_CHANGED = "its files changed on disk after it was loaded"


class Requests(Protocol):
    """Who keeps requests of answering versions."""

    def of(self, model: str, version: int) -> Sequence[Recorded]: ...


class NoRequests:
    """Nobody."""

    def of(self, model: str, version: int) -> Sequence[Recorded]:
        del model, version
        return ()


def _lend_all(size: int) -> AbstractContextManager[object]:
    del size
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Side:
    """A version that is loaded."""

    version: int
    key: SlotKey
    origin: Origin
    config: ModelConfig
    facts: VersionFacts


@dataclass(frozen=True, slots=True)
class Asked:
    """A version that waits for a verdict; ``side`` None: only what is kept is asked for."""

    model: str
    key: SlotKey
    origin: Origin
    terms: Terms
    side: Side | None = None


class Bench:
    """``requests``: who keeps those of answering versions. Safe from any thread."""

    def __init__(
        self,
        settings: Settings,
        judge: Judge,
        kept: Verdicts,
        requests: Requests | None = None,
        lend: Lend = _lend_all,
    ) -> None:
        self._settings, self._judge, self._kept = settings, judge, kept
        self._requests = requests or NoRequests()
        self._room = JudgingRoom(lend)

    def remember(self, key: SlotKey, origin: Origin) -> None:
        """That these files answer their model, so that others under the same number are told from
        them after a restart."""
        try:
            self._remember(key, origin)
        except (OSError, LoadError) as error:
            log.debug("answered_not_kept", model=key.model, reason=str(error))

    def _remember(self, key: SlotKey, origin: Origin) -> None:
        known = self._kept.answered(key.model)
        if known is not None and (known.version, known.files) == (key.version, key.files):
            return
        contents = run_low_priority(origin.contents)
        # Of files that were replaced meanwhile it says nothing.
        if origin.fingerprint() != key.files:
            contents = ""
        self._kept.keep_answered(key.model, Answered(key.version, key.files, contents))

    def _has_other_files(self, key: SlotKey, origin: Origin) -> bool:
        """Than answered under its number before this process. Raises OSError, LoadError."""
        known = self._kept.answered(key.model)
        if known is None or known.version != key.version or known.files == key.files:
            return False
        return not known.contents or known.contents != run_low_priority(origin.contents)

    def kept(self, asked: Asked) -> Verdict | None:
        """A person's, else the gates' own; of these files, this configuration and these gates.
        Raises OSError, LoadError."""
        found = self._kept.read(_key(asked.key, asked.terms, ""))
        if found is not None:
            return found
        return self._kept.read(_key(asked.key, asked.terms, _stamp(asked, asked.origin.fetch())))

    def keep_blessing(self, key: SlotKey, terms: Terms, verdict: Verdict) -> None:
        self._kept.write(_key(key, terms, ""), verdict)

    def hold(self, key: SlotKey, terms: Terms) -> Callable[[], None]:
        """While the version is loaded a person's blessing of it is not given up for others'
        verdicts. What ends that."""
        return self._kept.hold(_key(key, terms, ""))

    def judge(
        self,
        asked: Asked,
        against: Side | None,
        answered: int | None,
        called_off: Cancellation,
        *,
        first: bool,
    ) -> Verdict:
        """``against``: the version that answers now, ``answered``: the one that did last. Raises
        NotNowError, CalledOffError."""
        if asked.side is None:
            raise NotNowError("it is being unloaded")
        try:
            fetched = asked.origin.fetch()
            candidate = self._subject(asked.side, fetched, asked.terms)
            if candidate is None:
                raise NotNowError(_CHANGED)
            first = first and not self._has_other_files(asked.key, asked.origin)
            case = Case(asked.model, candidate, asked.terms, first=first)
            case = data_of(self._held_against(case, against, answered), _named_set(asked.origin))
            stamp = _stamp(asked, fetched)
            size = asked.side.facts.memory_bytes
            size += against.facts.memory_bytes if against is not None else 0
            with self._room.lent(size, called_off):
                verdict = self._judge(case, called_off)
            _check_unchanged(asked.side, against if case.base is not None else None)
        except LoadError as error:
            raise NotNowError(error.reason) from error
        except OSError as error:
            raise NotNowError(f"its files can't be read: {error.strerror or error}") from error
        if verdict.lasting:
            self._kept.write(_key(asked.key, asked.terms, stamp), verdict)
        return verdict

    def _held_against(self, case: Case, against: Side | None, answered: int | None) -> Case:
        if against is None:
            if case.first:
                return case
            words = f"version {answered}, which answered before, is not there"
            if answered == case.candidate.version:
                words = f"version {answered} answered before with other files, which are not there"
            return replace(case, no_base=words)
        requests = self._requests.of(case.model, against.version)
        case = replace(case, base_version=against.version, requests=requests)
        try:
            base = self._subject(against, against.origin.fetch(), case.terms)
        except (OSError, LoadError):
            base = None
        if base is None:
            words = f"the files of version {against.version} are not on disk as they were loaded"
            return replace(case, no_base=words)
        return replace(case, base=base)

    def _subject(self, side: Side, fetched: Fetched, terms: Terms) -> Subject | None:
        """None: its files are not what was loaded."""
        if not _lies_there(side):
            return None
        saved = mlflow_model.of_version(fetched.version, side.config, self._settings)
        config = replace(saved.config, gates=GatesConfig(evaluation=terms.evaluation))
        manifest = side.origin.manifest
        return Subject(
            version=side.version,
            path=fetched.version,
            folder=fetched.model,
            config=config,
            named=manifest.samples if manifest is not None else (),
            size=side.facts.memory_bytes,
            budget=model_budget(config, self._settings),
            rows=side.facts.max_rows,
            isolated=bool(side.facts.isolated),
        )


def _check_unchanged(candidate: Side, base: Side | None) -> None:
    """The child reads the files from where they lie: of other ones it says nothing of what is
    loaded. Raises NotNowError."""
    if not _lies_there(candidate):
        raise NotNowError(_CHANGED)
    if base is not None and not _lies_there(base):
        words = f"the files of version {base.version}, which it is held against, changed meanwhile"
        raise NotNowError(words)


def _lies_there(side: Side) -> bool:
    """Whether its files are what was loaded."""
    return side.origin.fingerprint() == side.key.files


def _named_set(origin: Origin) -> str:
    manifest = origin.manifest
    return manifest.evaluation if manifest is not None else ""


def _stamp(asked: Asked, fetched: Fetched) -> str:
    """What the evaluation set looks like, so that another one makes another verdict."""
    evaluation = asked.terms.evaluation
    if evaluation is None:
        return "-"
    folder = evaluation.folder or (fetched.model if evaluation.data else fetched.version)
    name = evaluation.data or _named_set(asked.origin)
    return files.stamp(fetched.model / folder / name) or "-"


def _key(key: SlotKey, terms: Terms, stamp: str) -> str:
    return key_of(key.model, key.version, key.files, key.config, terms.digest(stamp))
