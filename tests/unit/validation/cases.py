"""Cases that TensorFlow Data Validation has judged (``tfdv_vectors.json``); the same each time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.unit.validation.builders import bucketed, dataset, numbers, schema, texts
from tests.unit.validation.random_cases import Chance

INF, NAN = float("inf"), float("nan")


@dataclass(frozen=True)
class Case:
    name: str
    schema: Any
    statistics: Any
    baseline: Any | None = None
    previous: Any | None = None
    environment: str = ""


def draws(seed: int, count: int, *, mean: float = 0.0, spread: float = 1.0) -> list[float]:
    """Normal numbers; by Python's own generator, whose numbers never change."""
    chance = random.Random(seed)
    return [
        mean + spread * sum(chance.random() for _ in range(12)) - 6 * spread for _ in range(count)
    ]


def cases() -> Iterator[Case]:
    yield from _presence()
    yield from _valency()
    yield from _texts()
    yield from _numbers()
    yield from _booleans()
    yield from _columns()
    yield from _distances()
    yield from _specifications()
    yield from random_ones(200)


def random_ones(count: int, seed: int = 1) -> Iterator[Case]:
    """Whatever may be in schemas and statistics, together."""
    chance = Chance(seed)
    for number in range(count):
        yield Case(
            f"by chance: {number}",
            chance.schema(),
            chance.statistics(),
            chance.statistics() if chance.often(0.7) else None,
            chance.statistics() if chance.often(0.7) else None,
            chance.choice(["", "", "S", "T"]),
        )


def _one(name: str, says: str, feature: Any, *, examples: int = 10, extra: str = "") -> Case:
    return Case(name, schema(f'feature {{ name: "f" {says} }} {extra}'), dataset(examples, feature))


def _presence() -> Iterator[Case]:
    some = texts("f", {"a": 7}, 3)
    for name, says in {
        "fraction held": "presence { min_fraction: 0.7 }",
        "fraction missed": "presence { min_fraction: 0.71 }",
        "everywhere, and missing in some": "presence { min_fraction: 1.0 }",
        "count held": "presence { min_count: 7 }",
        "count missed": "presence { min_count: 8 }",
        "both missed": "presence { min_count: 8 min_fraction: 0.9 }",
        "not asked for": "",
    }.items():
        yield _one(f"presence: {name}", f"type: BYTES {says}", some)
    never = texts("f", {}, 10)
    yield _one("presence: never, required", "type: BYTES presence { min_count: 1 }", never)
    yield _one("presence: never, optional", "type: BYTES presence { min_count: 0 }", never)


def _valency() -> Iterator[Case]:
    ragged = texts("f", {"a": 10})
    common = ragged.string_stats.common_stats
    common.min_num_values, common.max_num_values = 2, 5
    fixed = texts("f", {"a": 10})
    fixed.string_stats.common_stats.min_num_values = 6
    fixed.string_stats.common_stats.max_num_values = 6
    for name, says in {
        "held": "value_count { min: 2 max: 5 }",
        "too few": "value_count { min: 3 }",
        "too many": "value_count { max: 4 }",
        "both": "value_count { min: 3 max: 4 }",
        "shape of what varies": "shape { dim { size: 2 } }",
        "nested": "value_counts { value_count { min: 1 } value_count { min: 1 } }",
    }.items():
        yield _one(f"valency: {name}", f"type: BYTES {says}", ragged)
    for size in (6, 5):
        shape = "shape { dim { size: %d } }"
        yield _one(f"valency: shape of {size}", f"type: BYTES {shape % size}", fixed)
    yield _one(
        "valency: shape of 2 x 3", "type: BYTES shape { dim { size: 2 } dim { size: 3 } }", fixed
    )
    sometimes = texts("f", {"a": 9}, 1)
    yield _one("valency: shape of the missing", "type: BYTES shape { dim { size: 1 } }", sometimes)


def _texts() -> Iterator[Case]:
    counted = texts("f", {"a": 60, "b": 30, "c": 10})
    inline = 'type: BYTES string_domain { value: "a" value: "b" %s } %s'
    mass = "distribution_constraints { min_domain_mass: %s }"
    yield _one("texts: all known", inline % ('value: "c"', ""), counted, examples=100)
    yield _one("texts: one unknown", inline % ("", ""), counted, examples=100)
    for share in ("0.95", "0.9", "0.85"):
        yield _one(f"texts: mass {share}", inline % ("", mass % share), counted, examples=100)
    named = 'string_domain { name: "abc" value: "a" value: "b" }'
    yield _one("texts: named", 'type: BYTES domain: "abc"', counted, examples=100, extra=named)
    broken = texts("f", {"a": 10}, invalid_utf8_count=1)
    yield _one("texts: not UTF-8", inline % ("", ""), broken)
    yield _one("texts: bytes with a domain", inline % ("", ""), texts("f", {"a": 10}, type=3))
    yield _one(
        "texts: as numbers",
        "type: BYTES int_domain { min: 0 max: 3 }",
        texts("f", {"2": 5, "7": 5}),
    )
    yield _one("texts: no number", "type: BYTES int_domain { }", texts("f", {"2": 5, "x": 5}))
    yield _one(
        "texts: as floats", "type: BYTES float_domain { max: 2 }", texts("f", {"1.5": 5, "2.5": 5})
    )
    yield _one("texts: no float", "type: BYTES float_domain { }", texts("f", {"1.5": 5, "x": 5}))
    yield _one(
        "texts: NaN",
        "type: BYTES float_domain { disallow_nan: true }",
        texts("f", {"1": 5, "nan": 5}),
    )
    unique = "type: BYTES unique_constraints { min: %d max: %d }"
    for least, most in ((1, 3), (4, 9), (0, 2)):
        yield _one(f"unique: {least} to {most}", unique % (least, most), counted, examples=100)
    uncounted = numbers("f", [1.0, 2.0])
    yield _one("unique: of floats", "type: FLOAT unique_constraints { min: 1 max: 2 }", uncounted)


def _numbers() -> Iterator[Case]:
    whole = numbers("f", list(range(-3, 7)), whole=True)
    for least, most in ((-3, 6), (-2, 6), (-3, 5), (-2, 5)):
        domain = f"type: INT int_domain {{ min: {least} max: {most} }}"
        yield _one(f"ints: {least} to {most}", domain, whole)
    floats = numbers("f", [0.1 * step for step in range(10)])
    for low, high in ((0, 0.9), (0.05, 0.9), (0, 0.85)):
        domain = f"type: FLOAT float_domain {{ min: {low} max: {high} }}"
        yield _one(f"floats: {low} to {high}", domain, floats)
    odd = numbers("f", [0.0, 1.0, NAN, INF])
    yield _one("floats: no NaN", "type: FLOAT float_domain { disallow_nan: true }", odd)
    yield _one("floats: no infinity", "type: FLOAT float_domain { disallow_inf: true }", odd)
    yield _one("floats: either", "type: FLOAT float_domain { }", odd)
    yield _one("types: ints for floats", "type: FLOAT", whole)
    yield _one("types: floats for ints", "type: INT int_domain { min: 1 }", floats)
    yield _one("types: floats for texts", "type: BYTES", floats)
    yield _one("types: texts for ints", "type: INT", texts("f", {"a": 10}))


def _booleans() -> Iterator[Case]:
    for name, values in {"0 and 1": [0, 1], "-1": [-1, 1], "2": [0, 2]}.items():
        feature = numbers("f", values * 5, whole=True)
        yield _one(f"booleans: {name}", "type: INT bool_domain { }", feature)
    for name, floats in {"0 and 1": [0.0, 1.0], "half": [0.0, 0.5, 1.0], "2": [0.0, 2.0]}.items():
        feature = numbers("f", floats * 5)
        yield _one(f"booleans: floats {name}", "type: FLOAT bool_domain { }", feature)
    domain = 'type: BYTES bool_domain { true_value: "yes" false_value: "no" }'
    yield _one("booleans: texts", domain, texts("f", {"yes": 5, "no": 5}))
    yield _one("booleans: other texts", domain, texts("f", {"yes": 5, "maybe": 5}))


def _columns() -> Iterator[Case]:
    label = """
        default_environment: "TRAINING" default_environment: "SERVING"
        feature { name: "a" type: BYTES presence { min_count: 1 } }
        feature { name: "label" type: BYTES presence { min_count: 1 }
                  not_in_environment: "SERVING" }
    """
    with_label = dataset(10, texts("a", {"x": 10}), texts("label", {"y": 10}))
    without = dataset(10, texts("a", {"x": 10}))
    for environment in ("", "TRAINING", "SERVING", "ELSEWHERE"):
        case = Case("", schema(label), without, environment=environment)
        yield replace(case, name=f"columns: no label in {environment or 'none'}")
        words = f"columns: a label in {environment or 'none'}"
        yield replace(case, name=words, statistics=with_label)
    new = dataset(10, texts("a", {"x": 10}), texts("a.b", {"x": 10}), texts("it's", {"x": 10}))
    yield Case("columns: new", schema('feature { name: "a" type: BYTES }'), new)
    unused = 'feature { name: "f" type: BYTES lifecycle_stage: %s presence { min_count: 1 } }'
    for stage in ("DEPRECATED", "ALPHA", "BETA", "DEBUG_ONLY", "PRODUCTION"):
        empty = dataset(10, numbers("g", [1.0]))
        more = schema(unused % stage + 'feature { name: "g" type: FLOAT }')
        yield Case(f"columns: missing in stage {stage}", more, empty)
    sized = "dataset_constraints { min_examples_count: %d max_examples_count: %d }"
    for least, most in ((10, 10), (11, 20), (1, 9)):
        yield Case(f"sizes: {least} to {most}", schema(sized % (least, most)), dataset(10))
    ratio = """dataset_constraints { num_examples_drift_comparator {
        min_fraction_threshold: 0.5 max_fraction_threshold: 2 } }"""
    for before in (0, 4, 5, 20, 21):
        case = Case(f"sizes: after {before}", schema(ratio), dataset(10))
        yield replace(case, previous=dataset(before, name="before"))
    yield Case("sizes: none", schema('feature { name: "a" type: INT }'), dataset(0))


_LINF = "infinity_norm { threshold: %s }"
_JSD = "jensen_shannon_divergence { threshold: %s %s }"
_ABSOLUTE = "normalized_abs_difference { threshold: %s }"


def _compared(name: str, kind: str, measure: str, here: Any, there: Any) -> Iterator[Case]:
    """As drift and as skew."""
    says = f'feature {{ name: "f" type: {kind} %s {{ {measure} }} }}'
    case = Case("", schema(says % "drift_comparator"), dataset(100, here))
    before = dataset(100, there)
    yield replace(case, name=f"drift: {name}", previous=before)
    skew = schema(says % "skew_comparator")
    yield replace(case, name=f"skew: {name}", schema=skew, baseline=before)


def _distances() -> Iterator[Case]:
    a = texts("f", {"a": 60, "b": 30, "c": 10})
    for name, counts in {
        "the same": {"a": 60, "b": 30, "c": 10},
        "other counts": {"a": 20, "b": 30, "c": 50},
        "a new value": {"a": 600, "b": 300, "d": 100},
        "nothing in common": {"x": 1, "y": 2},
    }.items():
        for label, measure in {
            "L-infinity": _LINF % "0.1",
            "absolute": _ABSOLUTE % "0.1",
            "Jensen-Shannon": _JSD % ("0.1", ""),
        }.items():
            yield from _compared(f"{label}, {name}", "BYTES", measure, a, texts("f", counts))
    yield from _compared("nothing before", "BYTES", _LINF % "0.1", a, texts("g", {"a": 1}))
    for source in ("", "source { type: QUANTILES }", "source { type: STANDARD }"):
        for name, here, there in _numeric():
            measure = _JSD % ("0.05", source)
            label = source.split(":")[-1].strip(" }").lower() or "default"
            yield from _compared(f"{label}, {name}", "FLOAT", measure, here, there)


def _numeric() -> Iterator[tuple[str, Any, Any]]:
    normal = numbers("f", draws(1, 400))
    yield "the same numbers", normal, normal
    yield "normal, another draw", normal, numbers("f", draws(2, 400))
    yield "normal, moved by 1", normal, numbers("f", draws(3, 400, mean=1.0))
    yield "normal, wider", normal, numbers("f", draws(4, 300, spread=3.0))
    yield "apart", normal, numbers("f", draws(5, 400, mean=100.0))
    yield "with a gap", normal, numbers("f", [*draws(6, 200), *draws(7, 200, mean=50.0)])
    skewed = numbers("f", [10 ** (number / 2) for number in draws(8, 400)])
    yield "skewed", skewed, numbers("f", [10 ** (number / 2) for number in draws(9, 400)])
    mostly = numbers("f", [0.0] * 300 + draws(10, 100))
    yield "mostly zeros", mostly, numbers("f", [0.0] * 200 + draws(11, 100))
    yield "zeros against normal", mostly, normal
    yield "constant, the same", numbers("f", [3.0] * 20), numbers("f", [3.0] * 40)
    yield "constant, another", numbers("f", [3.0] * 20), numbers("f", [4.0] * 40)
    yield "constant against normal", numbers("f", [0.5] * 20), normal
    some = numbers("f", [*draws(12, 300), *[NAN] * 100])
    yield "NaN in one", some, normal
    yield "NaN in one, the same bounds", numbers("f", [*draws(1, 400), NAN, NAN]), normal
    yield "NaN in both", some, numbers("f", [*draws(13, 300), *[NAN] * 100])
    coarse = [numbers("f", np.round(draws(seed, 400)).tolist()) for seed in (14, 15)]
    yield "whole numbers", coarse[0], coarse[1]
    endless = bucketed("f", 0, [-INF, -1, 0, 1, INF], [1, 20, 30, 2])
    endless.num_stats.histograms.add().CopyFrom(endless.num_stats.histograms[0])
    endless.num_stats.histograms[1].type = 1
    yield "infinite bounds in one", endless, normal
    yield "infinite bounds in both", endless, endless
    huge = numbers("f", [-1e300, 1e300, 0.0, 1.0] * 5)
    yield "huge", huge, numbers("f", [-1e300, 5e299, 0.0, 1.0] * 5)


def _specifications() -> Iterator[Case]:
    whole = numbers("f", [1, 2, 3], whole=True)
    for name, says in {
        "no type": "",
        "no type, but a domain": 'string_domain { value: "a" }',
        "fraction above 1": "type: INT presence { min_fraction: 1.5 }",
        "fraction below 0": "type: INT presence { min_fraction: -0.5 }",
        "value_count.min": "type: INT value_count { min: -1 }",
        "value_count.max": "type: INT value_count { min: 1 max: 0 }",
        "shape of 0": "type: INT shape { dim { size: 0 } }",
        "floats of INT": "type: INT float_domain { }",
        "ints of FLOAT": "type: FLOAT int_domain { }",
        "unknown domain": 'type: BYTES domain: "nobody"',
        "mass of ints": "type: INT int_domain {} distribution_constraints { min_domain_mass: 0.5 }",
        "mass of nothing": "type: INT distribution_constraints { min_domain_mass: 0.5 }",
    }.items():
        yield _one(f"specification: {name}", says, whole, examples=3)
