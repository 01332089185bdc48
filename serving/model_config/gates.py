"""What a model's gates ask of a new version, whichever file says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Average = Literal["macro", "micro", "weighted", "binary"]
Metric = Literal[
    "accuracy",
    "precision",
    "recall",
    "f1",
    "roc_auc",
    "log_loss",
    "mae",
    "rmse",
    "r2",
    "agreement",
]

# Of the others more is better.
LESS_IS_BETTER = frozenset({"log_loss", "mae", "rmse"})
# The share of examples on which a version answers what the answering one does: needs no labels.
AGREEMENT = "agreement"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What is asked of one metric. ``worse_by``: how much worse than the answering version's it
    may be, whichever direction is worse. None: nothing is asked of that."""

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None
    worse_by: float | None = None


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """An evaluation set, and what a version has to reach on it.

    ``data``: below ``folder``, or below the model's own where that is ""; "": the file that the
    version's manifest names. ``label``: the column with what is right. ``inputs``: input -> the
    columns that it is made of; those not named are taken by their names. ``output``: the one that
    is judged, ``classes``: what its scores are of, in their order. ``slices``: columns whose values
    each have to reach ``slice_thresholds`` by themselves (None: ``thresholds``), where so many
    examples have them. ``min_examples`` None: as the setting says.
    """

    data: str = ""
    folder: str = ""
    label: str = ""
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    output: str | None = None
    classes: tuple[str, ...] = ()
    average: Average = "macro"
    min_examples: int | None = None
    slices: tuple[str, ...] = ()
    min_slice_examples: int = 20
    thresholds: tuple[Threshold, ...] = ()
    slice_thresholds: tuple[Threshold, ...] | None = None

    @property
    def of_slices(self) -> tuple[Threshold, ...]:
        return self.thresholds if self.slice_thresholds is None else self.slice_thresholds

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All that something is asked of, each once."""
        found = dict.fromkeys(one.metric for one in (*self.thresholds, *self.of_slices))
        return tuple(found)


@dataclass(frozen=True, slots=True)
class GatesConfig:
    """``safe_to_serve`` and ``p99_factor`` None: as the settings say."""

    safe_to_serve: bool | None = None
    p99_factor: float | None = None
    evaluation: EvaluationConfig | None = None


NO_GATES = GatesConfig()
