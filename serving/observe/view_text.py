"""The families of models and versions, written once for each view and kept until it changes.

With a hundred versions there are more than a thousand lines; written at every scrape they would
hold the interpreter's lock for milliseconds each time.
"""

from __future__ import annotations

from collections.abc import Iterator

from serving.loading.batching.cost import CostCurve
from serving.model_config.schema import ModelConfig
from serving.models.views import ModelView, Process, VersionView
from serving.observe import families
from serving.observe.families import OF_MODELS, OF_VERSIONS, Family, escaped, pairs

Views = tuple[ModelView, ...]
Value = tuple[Family, str, float]
_ALL = (*OF_MODELS, *OF_VERSIONS)
_PLACES = {family: place for place, family in enumerate(_ALL)}
_OF_PROCESSES = (families.PROCESS_UP, families.PROCESS_CRASHES, families.PROCESS_RESTARTS)


class _Written:
    """One model's lines: for each family of ``_ALL`` a text; and its child processes."""

    def __init__(self, view: ModelView) -> None:
        self.view = view
        lines: list[list[str]] = [[] for _ in _ALL]
        for family, labels, value in _values(view):
            lines[_PLACES[family]].append(family.line(labels, value))
        self.texts = ["".join(some) for some in lines]
        self.processes = [
            (_labels(view.name, version), version.process)
            for version in view.versions
            if version.process is not None
        ]


class ViewText:
    """What the views say, as text. Used by one thread at a time."""

    def __init__(self) -> None:
        self._views: Views | None = None
        self._written: dict[str, _Written] = {}
        self._text = b""
        self._processes: list[tuple[str, Process]] = []

    def render(self, views: Views) -> bytes:
        """Only models that changed since the last call are read again."""
        if views is not self._views:
            before = self._written
            self._written = {view.name: _kept(before.get(view.name), view) for view in views}
            self._text = self._joined().encode()
            self._processes = [p for one in self._written.values() for p in one.processes]
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
    return before if before is not None and before.view is view else _Written(view)


def _labels(model: str, version: VersionView) -> str:
    return pairs({"model": model, "version": str(version.number)})


def _values(view: ModelView) -> Iterator[Value]:
    model = f'model="{escaped(view.name)}"'
    labels = f"{{{model}}}"
    if view.default is not None:
        yield families.DEFAULT_VERSION, labels, view.default
    if view.pinned is not None:
        yield families.PINNED_VERSION, labels, view.pinned
    for version in view.versions:
        yield from _of_version(model, version)


def _of_version(model: str, version: VersionView) -> Iterator[Value]:
    """``model``: its label."""
    both = f'{model},version="{version.number}"'
    labels = f"{{{both}}}"
    yield families.STATE, f'{{{both},state="{version.state}"}}', 1
    if version.ready_since is not None:
        yield families.READY_SINCE, labels, version.ready_since
    facts = version.facts
    if facts.load_seconds is not None:
        yield families.LOAD_SECONDS, labels, facts.load_seconds
    if facts.memory_bytes:
        yield families.MEMORY, labels, facts.memory_bytes
    if facts.cost is not None:
        yield from _of_cost(labels, facts.cost)
    for provider, count in sorted(facts.provider_nodes.items()):
        yield families.NODES, f'{{{both},provider="{escaped(provider)}"}}', count
    if version.ready_since is not None:
        yield families.BATCH_LIMIT, labels, facts.max_rows
        yield families.ISOLATED, labels, int(bool(facts.isolated))
        yield families.HELD_BACK, labels, int(version.held_back)
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
