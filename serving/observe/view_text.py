"""The families of models and versions, written once for each view and kept until it changes.

With a hundred versions there are more than a thousand lines; written at every scrape they would
hold the interpreter's lock for milliseconds each time. Of a version that nobody has asked only that
is told which says what it is and how it stands: what its requests may cost and what bounds them
appears with them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from serving.loading.batching.cost import CostCurve
from serving.model_config.schema import ModelConfig
from serving.models.views import ModelView, Process, VersionView
from serving.observe import families
from serving.observe.families import OF_MODELS, OF_VERSIONS, Family, escaped, pairs

if TYPE_CHECKING:
    from serving import _core

Views = tuple[ModelView, ...]
Value = tuple[Family, str, float]
_ALL = (*OF_MODELS, *OF_VERSIONS)
_PLACES = {family: place for place, family in enumerate(_ALL)}
_OF_PROCESSES = (families.PROCESS_UP, families.PROCESS_CRASHES, families.PROCESS_RESTARTS)


class _Written:
    """One model's lines: for each family of ``_ALL`` a text; and its child processes.
    ``unasked``: the counters of versions that no request has come for."""

    def __init__(self, view: ModelView) -> None:
        self.view = view
        stats = {one.number: one.stats for one in view.versions if one.stats is not None}
        asked = {number for number, one in stats.items() if one.asked}
        self.unasked = [one for number, one in stats.items() if number not in asked]
        lines: list[list[str]] = [[] for _ in _ALL]
        for family, labels, value in _values(view, asked):
            lines[_PLACES[family]].append(family.line(labels, value))
        self.texts = ["".join(some) for some in lines]
        self.processes = [
            (_labels(view.name, version), version.process)
            for version in view.versions
            if version.process is not None
        ]

    def tells(self, view: ModelView) -> bool:
        """Whether that is what it says."""
        return self.view is view and not _any_asked(self.unasked)


def _any_asked(unasked: Iterable[_core.Stats]) -> bool:
    return any(stats.asked for stats in unasked)


class ViewText:
    """What the views say, as text. Used by one thread at a time."""

    def __init__(self) -> None:
        self._views: Views | None = None
        self._unasked: list[_core.Stats] = []
        self._written: dict[str, _Written] = {}
        self._text = b""
        self._processes: list[tuple[str, Process]] = []

    def render(self, views: Views) -> bytes:
        """Only models that changed since the last call, or were asked for the first time, are read
        again."""
        if views is not self._views or _any_asked(self._unasked):
            before = self._written
            self._written = {view.name: _kept(before.get(view.name), view) for view in views}
            self._text = self._joined().encode()
            self._processes = [p for one in self._written.values() for p in one.processes]
            self._unasked = [s for one in self._written.values() for s in one.unasked]
            self._views = views
        return self._text + "".join(self._process_lines()).encode()

    def _joined(self) -> str:
        texts = [one.texts for one in self._written.values()]
        return "".join(
            family.head + "".join([text[place] for text in texts])
            for family, place in _PLACES.items()
        )

    def _process_lines(self) -> Iterator[str]:
        up, crashes, restarts = _OF_PROCESSES
        facts = [
            (labels, int(process.pid is not None), process.crashes, process.restarts)
            for labels, process in self._processes
        ]
        for place, family in enumerate((up, crashes, restarts), start=1):
            yield family.head
            for one in facts:
                yield family.line(str(one[0]), int(one[place]))


def _kept(before: _Written | None, view: ModelView) -> _Written:
    return before if before is not None and before.tells(view) else _Written(view)


def _labels(model: str, version: VersionView) -> str:
    return pairs({"model": model, "version": str(version.number)})


def _values(view: ModelView, asked: Collection[int]) -> Iterator[Value]:
    """``asked``: the versions that any request has come for."""
    model = f'model="{escaped(view.name)}"'
    labels = f"{{{model}}}"
    if view.default is not None:
        yield families.DEFAULT_VERSION, labels, view.default
    if view.pinned is not None:
        yield families.PINNED_VERSION, labels, view.pinned
    for version in view.versions:
        both = f'{model},version="{version.number}"'
        yield from _of_version(both, version)
        if version.number in asked:
            yield from _beside_requests(f"{{{both}}}", version)


def _of_version(both: str, version: VersionView) -> Iterator[Value]:
    """``both``: its labels."""
    labels = f"{{{both}}}"
    yield families.STATE, f'{{{both},state="{version.state}"}}', 1
    if version.ready_since is not None:
        yield families.READY_SINCE, labels, version.ready_since
    facts = version.facts
    if facts.load_seconds is not None:
        yield families.LOAD_SECONDS, labels, facts.load_seconds
    if facts.memory_bytes:
        yield families.MEMORY, labels, facts.memory_bytes
    for provider, count in sorted(facts.provider_nodes.items()):
        yield families.NODES, f'{{{both},provider="{escaped(provider)}"}}', count
    if version.ready_since is not None:
        yield families.ISOLATED, labels, int(bool(facts.isolated))
        yield families.HELD_BACK, labels, int(version.held_back)


def _beside_requests(labels: str, version: VersionView) -> Iterator[Value]:
    facts = version.facts
    if facts.cost is not None:
        yield from _of_cost(labels, facts.cost)
    if version.ready_since is not None:
        yield families.BATCH_LIMIT, labels, facts.max_rows
        if facts.config is not None:
            yield from _of_queue(labels, facts.config)


def _of_cost(labels: str, cost: CostCurve) -> Iterator[Value]:
    yield families.COST_FIXED, labels, cost.fixed_s
    yield families.COST_PER_ROW, labels, cost.per_row_s
    if cost.best_rows is not None:
        yield families.BEST_ROWS, labels, cost.best_rows


def _of_queue(labels: str, config: ModelConfig) -> Iterator[Value]:
    limits = (
        (families.QUEUE_LIMIT_REQUESTS, config.max_queue_requests),
        (families.QUEUE_LIMIT_ROWS, config.max_queue_rows),
        (families.QUEUE_LIMIT_BYTES, config.max_queue_bytes),
    )
    for family, limit in limits:
        if limit is not None:
            yield family, labels, limit
