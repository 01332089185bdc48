"""Statistics and schemas that say what can't be: judged somehow, never an error."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from serving.statistics.metadata import messages
from serving.validation.anomalies import rows
from serving.validation.check import AS_TFX, Options, validate
from serving.validation.compare import Finding, Kind, against
from serving.validation.constraints import compiled
from serving.validation.differences import differences
from serving.validation.infer import Rules, infer
from serving.validation.thresholds import apply, suggest
from serving.validation.views import DatasetView
from tests.unit.validation import builders

_FLOATS = (0.0, -0.0, math.nan, math.inf, -math.inf, 1.7e308, -1.7e308, 5e-324, 1.0, -1.0, 0.3)
_INTS = (0, 1, 2, 10, 2**31 - 1)
_TEXTS = ("", "a", "b", "a.b", "inputs", "outputs", "SERVING", "1", "x" * 70)
_DEEPEST = 6


def filled(message: Any, chance: random.Random, depth: int = 0) -> Any:
    """About half of its fields, with values of all kinds."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() < 0.5 or depth > _DEEPEST:
            continue
        if field.message_type is not None and "google" in field.message_type.full_name:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.is_repeated:
            for _ in range(chance.randrange(4)):
                if field.message_type is not None:
                    filled(getattr(message, field.name).add(), chance, depth + 1)
                else:
                    getattr(message, field.name).append(_value(field, chance))
        elif field.message_type is not None:
            filled(getattr(message, field.name), chance, depth + 1)
        else:
            setattr(message, field.name, _value(field, chance))
    return message


def _value(field: Any, chance: random.Random) -> Any:
    if field.enum_type is not None:
        return chance.choice([value.number for value in field.enum_type.values])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return chance.choice(_FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = chance.choice(_TEXTS)
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    most = 2**64 - 1 if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64 else 2**31 - 1
    return chance.choice((*_INTS, most))


@pytest.mark.parametrize("seed", range(60))
def test_whatever_messages_say_they_are_judged(seed: int) -> None:
    chance = random.Random(seed)
    schema = filled(messages.Schema(), chance)
    windows = [filled(messages.DatasetFeatureStatisticsList(), chance) for _ in range(3)]
    here, before, training = windows
    for options in (Options(), AS_TFX):
        for row in rows(validate(here, schema, training, before, options)):
            assert row["type"] != "UNKNOWN_TYPE"
    # Against their own schema, too, with thresholds: so all that they have is compared.
    for window in windows:
        own = infer(window, Rules(ranges=True))
        apply(own, suggest([window] * 4, training, least_windows=1))
        own.MergeFrom(schema)
        assert validate(here, own, training, before).SerializeToString()
        assert isinstance(differences(own, schema), list)
        compiled(own, {"a": [-1, 2], "b": [-1]})
    views = DatasetView.of(here), DatasetView.of(before)
    for compared in against(*views, schema, Kind.VERSIONS):
        assert compared.finding in Finding
        assert 0 <= compared.distance.value <= 1


def test_a_type_of_a_later_release_is_what_its_statistics_are_of() -> None:
    statistics = messages.DatasetFeatureStatistics(num_examples=5)
    for name, kind in (("n", "num_stats"), ("s", "string_stats"), ("b", "bytes_stats")):
        feature = statistics.features.add(name=name, type=77)
        getattr(feature, kind).common_stats.num_non_missing = 5
    assert [feature.type for feature in infer(statistics).feature] == [3, 1, 1]
    wanted = builders.schema('feature { name: "n" type: BYTES }')
    types = [row["type"] for row in rows(validate(statistics, wanted))]
    assert types == ["SCHEMA_NEW_COLUMN", "UNEXPECTED_DATA_TYPE", "SCHEMA_NEW_COLUMN"]
