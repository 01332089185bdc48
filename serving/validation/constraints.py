"""A schema as what can be asked of each request's tensors. Pure.

Of a single request only some of a schema can be asked: that a value is there, within bounds, in a
list, finite, and that a row has as many values. Fractions of examples, different values and
distances are of many examples; what is left out for that is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serving.statistics.features import MOST_COLUMNS
from serving.validation.schemas import SchemaView, type_of
from serving.validation.views import SCHEMA_BYTES, SCHEMA_FLOAT, SCHEMA_INT, TYPE_NAMES

_NUMBERS = (SCHEMA_INT, SCHEMA_FLOAT)


@dataclass(frozen=True, slots=True)
class Constraint:
    """What one feature's values have to be.

    ``column``: of a tensor with two axes; None: all of the tensor. ``numbers``: they are numbers,
    else texts. ``required``: no value may be missing (NaN, an empty text, an input left out).
    ``least``, ``most``: bounds of numbers, both allowed; those of integers are integers. ``nan``,
    ``infinite``: allowed. ``whole``: numbers without a fraction. ``values``: the texts that are
    allowed. ``least_values``, ``most_values``: how many a row has.
    """

    feature: str
    tensor: str
    column: int | None
    numbers: bool
    required: bool = False
    least: float | None = None
    most: float | None = None
    nan: bool = True
    infinite: bool = True
    whole: bool = False
    values: frozenset[str] | None = None
    least_values: int | None = None
    most_values: int | None = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """``left_out``: what the schema says and no single request can be held against, in words."""

    constraints: tuple[Constraint, ...]
    left_out: tuple[str, ...]


def compiled(
    schema: Any,
    shapes: Mapping[str, Sequence[int]],
    names: Mapping[str, Sequence[str]] | None = None,
    environment: str | None = None,
) -> Compiled:
    """Of a model's inputs. ``shapes``: by tensor, -1 for what may vary. ``names``: of the columns
    of those that have any. ``environment``: None: SERVING, where the schema speaks of it."""
    view = SchemaView(schema)
    environment = environment or view.environment()
    places = _places(shapes, names or {})
    constraints, left_out = [], []
    for path, feature in view.features.items():
        name = ".".join(path)
        if view.passed_over(path) or not view.within(feature, environment):
            continue
        if name not in places:
            left_out.append(f"{name}: the model has no input, and no column of one, of that name")
            continue
        constraints.append(_constraint(view, feature, name, *places[name]))
        left_out += [f"{name}: {words}" for words in _beyond(feature)]
    return Compiled(tuple(constraints), tuple(left_out))


def _places(
    shapes: Mapping[str, Sequence[int]], names: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, int | None]]:
    """Feature -> the tensor that has it, and its column there; as features are named by
    :mod:`serving.statistics.features`."""
    found: dict[str, tuple[str, int | None]] = {}
    for tensor, shape in shapes.items():
        if len(shape) == 2 and 0 < shape[1] <= MOST_COLUMNS:
            given = names.get(tensor, ())
            fits = len(given) == shape[1]
            columns = given if fits else [f"{tensor}[{at}]" for at in range(shape[1])]
            found |= {column: (tensor, at) for at, column in enumerate(columns)}
            # One column is no column of something: statistics call it by the tensor's own name.
            if shape[1] == 1:
                found.setdefault(tensor, (tensor, 0))
        else:
            found[tensor] = (tensor, None)
    return found


def _constraint(
    view: SchemaView, feature: Any, name: str, tensor: str, column: int | None
) -> Constraint:
    kind = type_of(feature)
    required = feature.presence.min_fraction >= 1
    least_values, most_values = _valency(feature) if column is None else (None, None)
    bounds = _bounds(feature) if kind in _NUMBERS else {}
    return Constraint(
        feature=name,
        tensor=tensor,
        column=column,
        numbers=kind in _NUMBERS,
        required=required,
        values=_values(view, feature),
        least_values=least_values,
        most_values=most_values,
        **bounds,
    )


def _bounds(feature: Any) -> dict[str, Any]:
    match feature.WhichOneof("domain_info"):
        case "int_domain":
            return _range(feature.int_domain)
        case "float_domain":
            domain = feature.float_domain
            allowed = {"nan": not domain.disallow_nan, "infinite": not domain.disallow_inf}
            return _single(_range(domain)) | allowed
        case "bool_domain":
            return {"least": 0, "most": 1, "whole": True}
    return {}


def _range(domain: Any) -> dict[str, Any]:
    return {
        "least": domain.min if domain.HasField("min") else None,
        "most": domain.max if domain.HasField("max") else None,
    }


def _single(bounds: dict[str, Any]) -> dict[str, Any]:
    """A schema's 0.1 has 32 bits: what is 0.1 with 64 is within it as well."""
    shortest = {
        key: None if each is None else float(str(np.float32(each))) for key, each in bounds.items()
    }
    wider = {"least": min, "most": max}
    return {
        key: None if each is None else wider[key](each, shortest[key])
        for key, each in bounds.items()
    }


def _values(view: SchemaView, feature: Any) -> frozenset[str] | None:
    if type_of(feature) != SCHEMA_BYTES or feature.distribution_constraints.min_domain_mass < 1:
        return None
    if feature.WhichOneof("domain_info") == "bool_domain":
        domain = feature.bool_domain
        texts = [(domain.true_value, "true_value"), (domain.false_value, "false_value")]
        return frozenset(text for text, field in texts if domain.HasField(field)) or None
    known = view.values_of(feature)
    return None if known is None else frozenset(known)


def _valency(feature: Any) -> tuple[int | None, int | None]:
    if feature.HasField("shape"):
        size = 1
        for dim in feature.shape.dim:
            size *= dim.size
        return size, size
    count = feature.value_count
    return (
        int(count.min) if count.HasField("min") else None,
        int(count.max) if count.HasField("max") else None,
    )


def _beyond(feature: Any) -> Iterator[str]:
    kind, domain = type_of(feature), feature.WhichOneof("domain_info")
    if 0 < feature.presence.min_fraction < 1:
        yield "presence.min_fraction below 1 is of many examples"
    if feature.distribution_constraints.min_domain_mass < 1:
        yield "min_domain_mass below 1 is of many examples"
    if feature.HasField("unique_constraints"):
        yield "unique_constraints are of many examples"
    if kind == SCHEMA_BYTES and domain in ("int_domain", "float_domain"):
        yield f"a {domain} of texts is not asked of requests"
    if kind not in (*_NUMBERS, SCHEMA_BYTES):
        yield f"the type {TYPE_NAMES.get(kind, 'that is missing')} is not one of tensors"
