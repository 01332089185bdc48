"""Statistics held against a schema, the training data and the window before: TFX's Anomalies. Pure.

What is an anomaly, and by which name, is what TensorFlow Data Validation says
(``schema.cc``, ``feature_util.cc``). Beyond it: a small sample raises none by chance
(:mod:`serving.validation.counts`), and a feature that no longer varies is told
(:mod:`serving.validation.constancy`). Not looked at: sparse and weighted features, weights, and
the domains of images, URLs, times and natural language.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.validation import control, domains, presence
from serving.validation.anomalies import Anomaly, collected
from serving.validation.compare import Comparison, Kind
from serving.validation.constancy import constancy
from serving.validation.control import Control
from serving.validation.counts import CHANCE
from serving.validation.schemas import SchemaView, type_of
from serving.validation.sizes import sizes
from serving.validation.specification import faults, usable
from serving.validation.views import (
    SCHEMA_FLOAT,
    SCHEMA_INT,
    SCHEMA_TYPES,
    TYPE_NAMES,
    DatasetView,
    FeatureView,
    Path,
)

_NUMBERS = (SCHEMA_INT, SCHEMA_FLOAT)


@dataclass(frozen=True, slots=True)
class Options:
    """How strictly statistics are held against a schema.

    ``environment``: which of the schema's. ``served``: where none is given, SERVING if the schema
    speaks of it. ``chance``: of a false alarm in all features together; None: each figure is
    believed, as TFX does. ``numbers_alike``: whole numbers and others may stand for each other,
    since a model's input says which it takes. ``severities``: type of anomaly -> WARNING, where it
    isn't ERROR.
    """

    environment: str | None = None
    served: bool = True
    chance: float | None = CHANCE
    numbers_alike: bool = True
    severities: Mapping[str, str] = field(default_factory=dict)


# As ExampleValidator of TFX has it.
AS_TFX = Options(served=False, chance=None, numbers_alike=False)


def validate(
    statistics: Any,
    schema: Any,
    baseline: Any | None = None,
    previous: Any | None = None,
    options: Options = Options(),
) -> Any:
    """The Anomalies of ``statistics`` (DatasetFeatureStatistics, or a list of them: see
    :meth:`DatasetView.of`), with the distances that were measured.

    ``baseline``: statistics of the training data, for the schema's ``skew_comparator``.
    ``previous``: of the window before, for ``drift_comparator``.
    """
    dataset = DatasetView.of(statistics)
    if not dataset.examples:
        empty = collected(schema, {}, (), {})
        empty.data_missing = True
        return empty
    view = SchemaView(schema)
    checked = _Check(dataset, view, _controls(baseline, previous), options)
    found = checked.run()
    constraints = schema.dataset_constraints
    before = DatasetView.of(previous) if previous is not None else None
    whole = list(sizes(dataset, before, constraints))
    result = collected(schema, found, whole, options.severities)
    for path, compared in sorted(checked.compared.items()):
        result.drift_skew_info.append(control.measurements(path, compared))
    return result


def compared(
    statistics: Any, schema: Any, baseline: Any | None, previous: Any | None, chance: float | None
) -> list[Comparison]:
    """The distances for which the schema has thresholds, with what is believed of each."""
    options = Options(chance=chance)
    controls = _controls(baseline, previous)
    view = SchemaView(schema)
    check = _Check(DatasetView.of(statistics), view, controls, options)
    check.run()
    return [each for _, found in sorted(check.compared.items()) for each in found]


def _controls(baseline: Any | None, previous: Any | None) -> list[Control]:
    """In TFX's order."""
    given = ((Kind.DRIFT, previous), (Kind.SKEW, baseline))
    return [Control(kind, DatasetView.of(each)) for kind, each in given if each is not None]


class _Check:
    """One run over a dataset's features."""

    def __init__(
        self,
        dataset: DatasetView,
        schema: SchemaView,
        controls: Sequence[Control],
        options: Options,
    ) -> None:
        self._dataset = dataset
        self._schema = schema
        self._controls = controls
        given = options.environment or None
        self._environment = given or (schema.environment() if options.served else None)
        self._options = options
        # Shared out, so that all together alarm as rarely as one.
        parts = max(len(dataset.features), 1) * max(len(controls), 1)
        self._chance = None if options.chance is None else options.chance / parts
        self.compared: dict[Path, list[Comparison]] = {}

    def run(self) -> dict[Path, list[Anomaly]]:
        found = {path: list(self._feature(view)) for path, view in self._dataset.features.items()}
        for path in self._schema.features:
            if path not in self._dataset.features and self._required(path):
                words = f"There is nothing of it in any of {self._dataset.examples} examples."
                found[path] = [Anomaly("SCHEMA_MISSING_COLUMN", "Missing altogether", words)]
        return found

    def _required(self, path: Path) -> bool:
        return self._schema.required(path, self._environment)

    def _feature(self, view: FeatureView) -> Iterator[Anomaly]:
        feature = self._schema.features.get(view.path)
        if feature is None:
            yield from self._unknown(view)
            return
        if self._schema.passed_over(view.path):
            return
        yield from faults(self._schema, feature)
        if not usable(feature):
            return
        if view.present == 0:
            if self._required(view.path):
                words = f"It is missing in all of {self._dataset.examples} examples."
                yield Anomaly("FEATURE_TYPE_NOT_PRESENT", "Always missing", words)
            return
        if not self._schema.within(feature, self._environment):
            words = f"The schema has it, but not in the environment {self._environment}."
            yield Anomaly("SCHEMA_NEW_COLUMN", "Not expected here", words)
        yield from self._values(view, feature)

    def _unknown(self, view: FeatureView) -> Iterator[Anomaly]:
        """What a version answers needs no schema; nor does what others join."""
        known = view.output or view.path[0] in self._schema.joined
        within = len(view.path) > 1 and view.path[:-1] not in self._schema.features
        if not known and not within:
            yield Anomaly("SCHEMA_NEW_COLUMN", "New feature", "The schema doesn't have it.")

    def _values(self, view: FeatureView, feature: Any) -> Iterator[Anomaly]:
        chance, alike = self._chance, self._options.numbers_alike
        yield from presence.valency(view, feature)
        yield from presence.shape(view, feature)
        examples = self._dataset.examples if view.examples is None else view.examples
        yield from presence.presence(view, examples, feature, chance)
        yield from _type(view, feature, alike)
        yield from domains.domain(view, feature, self._schema, chance, alike)
        yield from presence.unique(view, feature)
        compared = control.comparisons(view, feature, self._controls, chance)
        if compared:
            self.compared[view.path] = compared
        yield from control.anomalies(view, feature, self._controls, compared)
        for each in self._controls:
            baseline = each.dataset.features.get(view.path)
            if each.kind is Kind.SKEW and baseline is not None and chance is not None:
                yield from constancy(view, baseline, chance)


def _type(view: FeatureView, feature: Any, alike: bool) -> Iterator[Anomaly]:
    wanted, found = type_of(feature), SCHEMA_TYPES[view.type]
    if view.mistyped:
        words = f"{view.mistyped:.0f} of its values are not {TYPE_NAMES[found]}."
        yield Anomaly("UNEXPECTED_DATA_TYPE", "Other type", words)
        return
    if wanted == found or (alike and wanted in _NUMBERS and found in _NUMBERS):
        return
    words = f"Its values are {TYPE_NAMES[found]}: expected {TYPE_NAMES.get(wanted, wanted)}."
    yield Anomaly("UNEXPECTED_DATA_TYPE", "Other type", words)
