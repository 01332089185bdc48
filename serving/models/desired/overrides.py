"""A model's overrides: what commands (load, unload, pin) decided about it, which goes before what
its folder and the version policy say. Data and pure functions.

The three modes differ in how long a command holds. ``poll``: an unload holds out the files that
were on disk, until they change or the server starts again. ``both``: until another command,
across restarts. ``explicit``: there is nothing but commands, and each start begins anew. Pins,
aliases, weights, and which version answered before, outlive a restart in every mode.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, fields, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field

from serving.model_config.route import LARGEST_WEIGHT, MOST_ALIASES, MOST_SHADOWS, MOST_WEIGHTS
from serving.rollout.route import NO_SPLIT, RouteChange, Split, why_no_split
from serving.strict import Many, Strict, StrictError, Text, few

Mode = Literal["poll", "explicit", "both"]
# The form of the document.
_FORM = 1
_LARGEST = 2**63 - 1
# More than any registry has models; what is beyond it loses what it had said.
MOST_MODELS = 20_000
# Of one model.
MOST_CHANGES = 64
NO_PIN = 0


@dataclass(frozen=True, slots=True)
class Overrides:
    """The overrides of one model.

    ``whole``: it was loaded or unloaded as a whole; None: nothing was said. ``versions``: loaded
    by number. ``out``: unloaded by number, with the fingerprint of the files that are held out,
    "" for any. ``pin``: answers unnamed requests. ``answered``: the last version that did,
    ``previous``: the one before; it is kept loaded until ``kept_until``, seconds since the epoch.
    ``aliases``: other names for versions, at most ``MOST_ALIASES``; ``split``: how requests are
    divided among versions; ``beside``: versions that go on for these alone, since another one was
    unloaded by number in ``explicit``. ``stays``: versions that keep their part of the requests
    though another signature was accepted since; not a part that they are given anew.
    ``pin_before``: what was pinned before, ``NO_PIN`` where nothing was, as long as the pin may
    have to be taken back. ``changes``: the last ones of the route, oldest first, at most
    ``MOST_CHANGES``.
    """

    whole: bool | None = None
    versions: frozenset[int] = frozenset()
    out: frozenset[tuple[int, str]] = frozenset()
    pin: int | None = None
    answered: int | None = None
    previous: int | None = None
    kept_until: float = 0.0
    aliases: Mapping[str, int] = field(default_factory=dict)
    beside: frozenset[int] = frozenset()
    split: Split = NO_SPLIT
    stays: frozenset[int] = frozenset()
    pin_before: int | None = None
    changes: tuple[RouteChange, ...] = ()

    @property
    def by_number(self) -> frozenset[int]:
        """The versions that are loaded also where the model is not."""
        return self.versions | (self.beside & self.split.versions.union(self.aliases.values()))


NOTHING = Overrides()


def is_wanted(current: Overrides, mode: Mode, named: bool) -> bool:
    """Whether versions are loaded as the version policy says, and not only those that commands
    named. ``named``: the setting ``load_models`` names the model."""
    if current.whole is not None:
        return current.whole
    return mode != "explicit" or named


def held_out(current: Overrides, disk: Mapping[int, str]) -> frozenset[int]:
    """The versions that stay out; ``disk``: version -> fingerprint of its files."""
    return frozenset(
        version for version, files in current.out if files in ("", disk.get(version, files))
    )


def load(current: Overrides, version: int | None) -> Overrides:
    if version is None:
        return replace(
            current, whole=True, versions=frozenset(), out=frozenset(), beside=frozenset()
        )
    return replace(current, versions=current.versions | {version}, out=_without(current, version))


def unload(
    current: Overrides,
    version: int | None,
    mode: Mode,
    disk: Mapping[int, str],
    chosen: frozenset[int] = frozenset(),
    beside: frozenset[int] = frozenset(),
) -> Overrides:
    """``disk``: version -> fingerprint, of all that is on disk or loaded; ``chosen``: the
    versions desired now, and ``beside``: those that aliases name, which in ``explicit`` go on
    alone."""
    if version is None:
        if mode == "poll":
            return replace(current, whole=None, versions=frozenset(), out=frozenset(disk.items()))
        return replace(
            current, whole=False, versions=frozenset(), out=frozenset(), beside=frozenset()
        )
    if mode == "explicit":
        rest = (current.versions | chosen) - {version}
        others = (current.beside | beside) - rest - {version}
        return replace(current, whole=False, versions=rest, out=frozenset(), beside=others)
    files = disk.get(version, "") if mode == "poll" else ""
    return replace(
        current,
        versions=current.versions - {version},
        out=_without(current, version) | {(version, files)},
    )


def follow(current: Overrides) -> Overrides:
    """As the model config list says: no command loaded or unloaded it."""
    return replace(current, whole=None, versions=frozenset(), out=frozenset(), beside=frozenset())


def pin(current: Overrides, version: int | None, wanted: bool) -> Overrides:
    """``version`` answers from now on, and is loaded for it also where the model is not
    ``wanted``; None: no pin any more."""
    if version is None:
        return replace(current, pin=None)
    return _taken_in(replace(current, pin=version), version, wanted)


def alias(current: Overrides, name: str, version: int | None, wanted: bool) -> Overrides:
    """``name`` stands for ``version`` from now on, which is loaded for it also where the model is
    not ``wanted``; None: for none."""
    others = {other: number for other, number in current.aliases.items() if other != name}
    if version is None:
        return replace(current, aliases=others)
    named = replace(current, aliases={**others, name: version})
    return _taken_in(named, version, wanted or version in current.beside)


def divide(current: Overrides, split: Split, wanted: bool) -> Overrides:
    """Requests are divided as ``split`` says from now on; its versions are loaded for it also where
    the model is not ``wanted``."""
    current = replace(current, split=split, stays=current.stays & split.weighted)
    for version in split.versions:
        current = _taken_in(current, version, wanted or version in current.beside)
    return current


def _taken_in(current: Overrides, version: int, wanted: bool) -> Overrides:
    current = replace(current, out=_without(current, version))
    return current if wanted else replace(current, versions=current.versions | {version})


def answer(current: Overrides, version: int, kept_until: float) -> Overrides:
    """``version`` answers now; the one that did is kept until then."""
    if version == current.answered:
        return current
    if current.answered is None:
        return replace(current, answered=version)
    return replace(current, answered=version, previous=current.answered, kept_until=kept_until)


def join(ours: Overrides, theirs: Overrides) -> Overrides:
    """``theirs``, of a gateway that has ended, where no command was given here. What answered
    here is what callers know."""
    if ours.answered is None:
        return theirs
    return replace(
        theirs, answered=ours.answered, previous=ours.previous, kept_until=ours.kept_until
    )


def _without(current: Overrides, version: int) -> frozenset[tuple[int, str]]:
    return frozenset((number, files) for number, files in current.out if number != version)


# The documents.

# A model has its place in one of them, so that what is decided about it writes that one only.
PARTS = tuple("0123456789abcdef")


class Documents:
    """What outlives the process, as JSON carries it, in ``PARTS``. A model's entry is made when
    its overrides change, not when a document is asked for."""

    def __init__(self, overrides: Mapping[str, Overrides], mode: Mode) -> None:
        self._mode: Mode = mode
        self._parts: dict[str, dict[str, dict[str, Any]]] = {part: {} for part in PARTS}
        self._changed: set[str] = set()
        for model, current in sorted(overrides.items()):
            self.put(model, current)
        self._changed.clear()

    def put(self, model: str, current: Overrides) -> None:
        part = part_of(model)
        self._changed.add(part)
        if fields := _fields(current, self._mode):
            self._parts[part][model] = fields
        else:
            self._parts[part].pop(model, None)

    def change_all(self) -> None:
        """Have all of them written: they are to lie elsewhere."""
        self._changed.update(PARTS)

    def take_changed(self) -> dict[str, dict[str, Any]]:
        """Those that changed since this was asked last."""
        changed, self._changed = sorted(self._changed), set()
        return {part: _document(self._parts[part]) for part in changed}


def part_of(model: str) -> str:
    return hashlib.blake2b(model.encode(errors="surrogatepass"), digest_size=1).hexdigest()[0]


def _document(models: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {"form": _FORM, "models": dict(models)}


def _fields(current: Overrides, mode: Mode) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "pin": current.pin,
        "pin_before": current.pin_before,
        "answered": current.answered,
        "previous": current.previous,
        "kept_until": current.kept_until or None,
        "aliases": dict(current.aliases) or None,
        "weights": list(current.split.weights.items()) or None,
        "sticky": current.split.sticky or None,
        "shadows": list(current.split.shadows.items()) or None,
        "base": current.split.base,
        "stays": sorted(current.stays) or None,
        "changes": [astuple(change) for change in current.changes] or None,
    }
    if mode == "both":
        fields["whole"] = current.whole
        fields["versions"] = sorted(current.versions) or None
        fields["out"] = sorted(number for number, _ in current.out) or None
    return {key: value for key, value in fields.items() if value is not None}


def from_document(document: object, mode: Mode) -> tuple[dict[str, Overrides], tuple[str, ...]]:
    """The overrides in one of ``Documents``, or in the one for all models that earlier versions
    kept; and in words what could not be taken over.

    A model whose entry is not as we write it is left out whole: half of what was said may be
    worse than nothing.
    """
    if document is None:
        return {}, ()
    if not isinstance(document, dict) or document.get("form") != _FORM:
        return {}, ("it has another form than this version writes",)
    models = document.get("models")
    if not isinstance(models, dict):
        return {}, ("its models are not an object",)
    overrides, wrong = {}, []
    for model, entry in models.items():
        try:
            overrides[model] = _overrides_of(entry, mode)
        except StrictError as error:
            wrong.append(f"{model}: {error}")
    return overrides, tuple(wrong)


_Number = Annotated[int, Field(gt=0, le=_LARGEST)]
_Numbers = Annotated[frozenset[_Number], Field(strict=False, fail_fast=True)]


_Weight = Annotated[int, Field(ge=0, le=LARGEST_WEIGHT)]
_Share = Annotated[float, Field(gt=0, le=1)]
_Of = TypeVar("_Of")
# As lists: a key of an object is a text.
_Pairs = Many[Annotated[tuple[_Number, _Of], Field(strict=False)]]


# When, by whom, what and why.
_Change = Annotated[
    tuple[Annotated[float, Field(ge=0, lt=1e12)], Text, Text, Text], Field(strict=False)
]


class _Entry(Strict):
    pin: _Number | None = None
    pin_before: Annotated[int, Field(ge=NO_PIN, le=_LARGEST)] | None = None
    answered: _Number | None = None
    previous: _Number | None = None
    kept_until: Annotated[float, Field(ge=0, lt=1e12)] = 0.0
    aliases: Annotated[dict[str, _Number], few(MOST_ALIASES)] = Field(default_factory=dict)
    weights: Annotated[_Pairs[_Weight], few(MOST_WEIGHTS)] = ()
    sticky: Text = ""
    shadows: Annotated[_Pairs[_Share], few(MOST_SHADOWS)] = ()
    base: _Number | None = None
    stays: _Numbers = frozenset()
    changes: Annotated[Many[_Change], few(MOST_CHANGES)] = ()
    whole: bool | None = None
    versions: _Numbers = frozenset()
    out: _Numbers = frozenset()


# What an entry says as it is kept.
_PLAIN = frozenset(field.name for field in fields(Overrides)) - {"out", "split", "changes"}


def _overrides_of(entry: object, mode: Mode) -> Overrides:
    read = _Entry.read(entry, "its entry")
    out = frozenset((number, "") for number in read.out)
    split = Split(dict(read.weights), read.sticky, dict(read.shadows), read.base)
    if why := why_no_split(split):
        raise StrictError(why)
    plain = {key: value for key, value in dict(read).items() if key in _PLAIN}
    changes = tuple(RouteChange(*change) for change in read.changes)
    current = Overrides(**plain, out=out, split=split, changes=changes)
    if mode == "both":
        return current
    return replace(current, whole=None, versions=frozenset(), out=frozenset())
