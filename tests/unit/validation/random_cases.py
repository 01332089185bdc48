"""Schemas and statistics by chance, but such as can be; the same each time."""

from __future__ import annotations

import math
import random
from typing import Any

from serving.statistics.metadata import messages
from tests.unit.validation.builders import dataset, numbers, texts

_NAMES = ("f", "g", "h")
_POOLS = (
    ("a", "b", "c"),
    ("1", "0"),
    ("1", "2", "7"),
    ("1.5", "x"),
    ("true", "false"),
    ("yes", "no"),
    ("nan", "inf", "3"),
    ("TRUE", "0", ""),
)


class Chance(random.Random):
    """By Python's own generator."""

    def often(self, share: float) -> bool:
        return self.random() < share

    def schema(self) -> Any:
        made = messages.Schema()
        for name in _NAMES:
            if self.often(0.8):
                self._feature(made.feature.add(name=name))
        if self.often(0.8):
            made.string_domain.add(name="D", value=["a", "b"])
        if self.often(0.3):
            made.default_environment.extend(["T", "S"][: self.randint(1, 2)])
        if self.often(0.2):
            made.dataset_constraints.min_examples_count = self.choice([1, 50])
        if self.often(0.2):
            drift = made.dataset_constraints.num_examples_drift_comparator
            drift.max_fraction_threshold = self.choice([0.5, 1, 2])
        return made

    def statistics(self) -> Any:
        features = [self._statistics(name) for name in _NAMES if self.often(0.85)]
        common = [getattr(each, each.WhichOneof("stats")).common_stats for each in features]
        counts = [each.num_non_missing + each.num_missing for each in common]
        return dataset(max(counts, default=3), *features, name="some")

    def _feature(self, made: Any) -> None:
        if self.often(0.95):
            made.type = self.choice([1, 1, 2, 3])
        if self.often(0.3):
            made.presence.min_fraction = self.choice([0, 0.5, 0.9, 1.0, 1.2])
        if self.often(0.25):
            made.presence.min_count = self.choice([0, 1, 5, 50])
        self._valency(made)
        self._domain(made)
        if self.often(0.15):
            made.distribution_constraints.min_domain_mass = self.choice([0.5, 0.8, 0.95, 1])
        if self.often(0.15):
            made.unique_constraints.min = self.randint(0, 2)
            made.unique_constraints.max = self.randint(1, 5)
        for comparator in (made.skew_comparator, made.drift_comparator):
            if self.often(0.5):
                self._comparator(comparator)
        self._place(made)

    def _place(self, made: Any) -> None:
        if self.often(0.15):
            made.in_environment.append(self.choice(["T", "S"]))
        if self.often(0.15):
            made.not_in_environment.append(self.choice(["T", "S"]))
        if self.often(0.1):
            made.lifecycle_stage = self.randint(0, 7)

    def _valency(self, made: Any) -> None:
        match self.randint(0, 9):
            case 0 | 1:
                made.value_count.min = self.randint(0, 2)
            case 2:
                made.value_count.max = self.randint(0, 3)
            case 3:
                for _ in range(self.randint(1, 2)):
                    made.shape.dim.add(size=self.randint(1, 3))
            case 4:
                for _ in range(2):
                    made.value_counts.value_count.add(min=self.randint(0, 2), max=3)

    def _domain(self, made: Any) -> None:
        match self.randint(0, 13):
            case 0 | 1:
                made.int_domain.min = self.randint(-5, 2)
                made.int_domain.max = self.randint(0, 6)
            case 2 | 3:
                made.float_domain.min = self.choice([-1, 0, 0.1])
                made.float_domain.max = self.choice([1, 2.5])
                made.float_domain.disallow_nan = self.often(0.5)
                made.float_domain.disallow_inf = self.often(0.5)
            case 4 | 5:
                known = ["a", "b", "c", "1", "0", "yes", "3"]
                made.string_domain.value.extend(self.sample(known, self.randint(1, 5)))
            case 6 | 7:
                made.domain = self.choice(["D", "D", "E"])
            case 8 | 9:
                made.bool_domain.SetInParent()
                if self.often(0.5):
                    made.bool_domain.true_value = self.choice(["yes", "1", "true"])
                    made.bool_domain.false_value = self.choice(["no", "0"])
            case 10:
                kinds = (made.natural_language_domain, made.url_domain, made.time_domain)
                self.choice(kinds).SetInParent()

    def _comparator(self, made: Any) -> None:
        if self.often(0.6):
            made.infinity_norm.threshold = self.choice([0, 0.01, 0.1, 0.5])
        if self.often(0.6):
            made.jensen_shannon_divergence.threshold = self.choice([0, 0.01, 0.1, 0.5])
            if self.often(0.6):
                made.jensen_shannon_divergence.source.type = self.randint(0, 2)
        if self.often(0.3):
            made.normalized_abs_difference.threshold = self.choice([0, 0.1, 0.3])

    def _statistics(self, name: str) -> Any:
        missing = self.choice([0, 0, 1, 5])
        made = self._texts(name, missing) if self.often(0.4) else self._numbers(name, missing)
        common = getattr(made, made.WhichOneof("stats")).common_stats
        if self.often(0.15):
            common.min_num_values = self.randint(0, 3)
            common.max_num_values = common.min_num_values + self.randint(0, 3)
        if self.often(0.05):
            for _ in range(2):
                least = self.randint(0, 2)
                common.presence_and_valency_stats.add(
                    num_non_missing=common.num_non_missing,
                    num_missing=self.choice([0, 0, 2]),
                    min_num_values=least,
                    max_num_values=least + self.randint(0, 2),
                )
        return made

    def _texts(self, name: str, missing: int) -> Any:
        pool = self.choice(_POOLS)
        some = self.sample(pool, self.randint(1, len(pool)))
        made = texts(name, {value: self.randint(1, 30) for value in some}, missing)
        if self.often(0.1):
            made.string_stats.invalid_utf8_count = 2
        if self.often(0.1):
            made.type = 3
        return made

    def _numbers(self, name: str, missing: int) -> Any:
        count, whole = self.choice([1, 3, 20, 100]), self.often(0.4)
        base, spread = self.choice([0, 0, 5, -3, 100]), self.choice([0, 1, 1, 10, 1e6])
        values: list[float] = [
            base + spread * (self.randint(-3, 3) if whole else self.uniform(-2, 2))
            for _ in range(count)
        ]
        if self.often(0.2):
            values = [float(self.randint(0, 1)) for _ in range(count)]
        if not whole and self.often(0.2):
            values += [math.nan] * self.randint(1, 5)
        if not whole and self.often(0.1):
            values.append(self.choice([math.inf, -math.inf]))
        return numbers(name, values, missing, whole=whole)
