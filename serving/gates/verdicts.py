"""Verdicts that outlive the process, by what they are of: a version's files and configuration,
and what its gates ask; and what answered a model last."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice

from serving.gates.verdict import Verdict, document, from_document
from serving.state_dir import StateDir
from serving.strict import Count, Strict, StrictError, Text

FOLDER = "verdicts"
ANSWERED = "answered"
_FORM = 1
# Models of which it is kept what answered; those that changed longest ago go first.
MOST_MODELS = 20_000
# Kept at once; the oldest go first, and their versions are judged anew. A person's blessing of a
# version that is loaded stays.
MOST = 2048
_COUNTED_EVERY = 64


@dataclass(frozen=True, slots=True)
class Answered:
    """What answered a model with gates last. ``files``: the version's fingerprint; ``contents``:
    a digest of what they hold, "" where that is not known."""

    version: int
    files: str
    contents: str


class _Answered(Strict):
    form: int
    version: Count
    files: Text
    contents: Text


class Verdicts:
    """Safe from any thread: each document is read and replaced as a whole."""

    def __init__(self, state: StateDir) -> None:
        self._state = state
        self._held: Counter[str] = Counter()
        self._until_counted = dict.fromkeys((FOLDER, ANSWERED), 0)

    def take_over(self, state: StateDir) -> None:
        """Keep all there from now on, beside what another gateway has left there."""
        before, self._state = self._state, state
        for folder in (FOLDER, ANSWERED):
            for name in before.names(folder):
                state.write(f"{folder}/{name}", before.read(f"{folder}/{name}"))

    def read(self, key: str) -> Verdict | None:
        return from_document(self._state.read(f"{FOLDER}/{key}"))

    def answered(self, model: str) -> Answered | None:
        try:
            read = _Answered.read(self._state.read(_place(model)), "what answered")
        except StrictError:
            return None
        return Answered(read.version, read.files, read.contents) if read.form == _FORM else None

    def keep_answered(self, model: str, one: Answered) -> None:
        self._state.write(_place(model), {"form": _FORM, **asdict(one)})
        self._trim(ANSWERED, MOST_MODELS)

    def write(self, key: str, verdict: Verdict) -> None:
        self._state.write(f"{FOLDER}/{key}", document(verdict))
        self._trim(FOLDER, MOST)

    def hold(self, key: str) -> Callable[[], None]:
        """Not to be given up from now on, however much is kept. What ends that, once. For one
        thread."""
        self._held[key] += 1
        return partial(self._let_go, key)

    def _let_go(self, key: str) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]

    def _trim(self, folder: str, most: int) -> None:
        """Now and then: to list them costs what there are."""
        self._until_counted[folder] -= 1
        if self._until_counted[folder] >= 0:
            return
        self._until_counted[folder] = _COUNTED_EVERY
        names = self._state.names(folder)
        old = (name for name in names if name not in self._held)
        for name in islice(old, max(0, len(names) - most)):
            self._state.remove(f"{folder}/{name}")


def _place(model: str) -> str:
    text = model.encode("utf-8", "surrogatepass")
    return f"{ANSWERED}/{hashlib.blake2b(text, digest_size=16).hexdigest()}"


def key_of(model: str, version: int, files: str, config: str, terms: str) -> str:
    """The document's name. ``files`` and ``config``: the slot's fingerprints, ``terms``: the
    digest of what its gates ask."""
    text = "\0".join((model, str(version), files, config, terms))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
