"""The kinds of sources there are, and which roots are of which."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from serving.registry.directory import DirectorySource
from serving.registry.file_source import FileSource
from serving.registry.snapshot import Closely, Snapshot
from serving.registry.source import Source
from serving.registry.sources import joined
from serving.settings.registry import RegistrySettings


@dataclass(frozen=True, slots=True)
class Terms:
    """What every source is given: its settings, and clocks in seconds, epoch and monotonic."""

    settings: RegistrySettings
    wall: Callable[[], float]
    mono: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Kind:
    """``takes``: whether a root is of this kind; ``make``: the sources of those that are."""

    takes: Callable[[Path], bool]
    make: Callable[[Sequence[Path], Terms], Sequence[Source]]


def _directories(roots: Sequence[Path], terms: Terms) -> Sequence[Source]:
    """One for all: a model that two of them have is an error of that model."""
    settings = terms.settings
    source = DirectorySource(
        roots,
        settings.settle_s,
        wall=terms.wall,
        mono=terms.mono,
        follow_symlinks=settings.follow_symlinks,
    )
    return (source,)


def _files(roots: Sequence[Path], terms: Terms) -> Sequence[Source]:
    """One for all: a hundred files are no reason for a hundred threads."""
    settle_s = terms.settings.settle_s
    return (Together([FileSource(root, settle_s, terms.wall, terms.mono) for root in roots]),)


class Together:
    """Sources that are looked at one after the other, in one thread."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._looked = self._sources[0]
        self._parts: tuple[Snapshot, ...] = ()
        self._joined = Snapshot()

    @property
    def place(self) -> Path:
        return self._looked.place

    def scan(
        self,
        closely: Closely = (),
        at_once: Closely = (),
        *,
        touched: Collection[str] = (),
        whole: bool = True,
    ) -> Snapshot:
        """See ``Source``. All that there is, always: nothing is reported of single files."""
        parts = tuple(self._scanned(one, closely, at_once) for one in self._sources)
        if len(parts) != len(self._parts) or not all(map(operator.is_, parts, self._parts)):
            self._parts, self._joined = parts, joined(parts)
        return self._joined

    def _scanned(self, source: Source, closely: Closely, at_once: Closely) -> Snapshot:
        self._looked = source
        return source.scan(closely=closely, at_once=at_once)


# The first that takes a root has it.
KINDS = (Kind(os.path.isfile, _files), Kind(lambda root: True, _directories))


def open_sources(roots: Sequence[Path], terms: Terms) -> list[Source]:
    """At least one."""
    found: list[Source] = []
    left = list(dict.fromkeys(root.absolute() for root in roots))
    for kind in KINDS:
        mine = [root for root in left if kind.takes(root)]
        left = [root for root in left if root not in mine]
        if mine or (kind is KINDS[-1] and not found):
            found += kind.make(mine, terms)
    return found
