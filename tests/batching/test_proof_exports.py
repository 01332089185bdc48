"""Exports as converters write them: at least 95 % of what may be batched is proven."""

from __future__ import annotations

import warnings
from functools import cache

import pytest

from tests import real_models

from . import harness
from .build import Entry
from .exports import EXPORTS
from .exports_real import IN_WHEELS, LIGHT, light

# Rightly batchable and yet not proven: the node, and why.
EXCEPTIONS: dict[str, str] = {}

named = pytest.mark.parametrize("entry", EXPORTS, ids=[one.name for one in EXPORTS])


@cache
def exported(name: str) -> bytes:
    (entry,) = (one for one in EXPORTS if one.name == name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of estimators that learn from very little.
        return entry.bytes()


def test_there_are_at_least_forty_exports_each_with_its_name() -> None:
    assert len({one.name for one in EXPORTS}) == len(EXPORTS) >= 40
    assert set(EXCEPTIONS) <= {one.name for one in EXPORTS}


@named
def test_an_export_answers_each_row_alone_as_together(entry: Entry) -> None:
    model = exported(entry.name)
    harness.run(model, entry.a)
    harness.run(model, entry.b)
    assert harness.moves_in_some_order(model, entry.a, entry.b) == ""
    assert harness.moved(model, harness.with_outliers(entry.a, entry.b)) == ""


def test_all_exports_but_the_exceptions_are_proven() -> None:
    found = {one.name: harness.verdict(exported(one.name)) for one in EXPORTS}
    missed = {name: one.words for name, one in found.items() if one.kind != "proven"}
    assert missed.keys() == EXCEPTIONS.keys(), "\n".join(f"{k}: {v}" for k, v in missed.items())
    assert len(missed) <= 0.05 * len(EXPORTS)


@pytest.mark.parametrize("name", LIGHT)
def test_a_network_of_the_onnx_package_is_proven(name: str) -> None:
    model, signature = light(name)
    found = harness.verdict(model, signature)
    assert found.kind == "proven", found.words


@pytest.mark.real_model
@pytest.mark.parametrize("name", IN_WHEELS)
def test_a_real_model_is_proven_where_its_rows_may_share_a_run(name: str) -> None:
    found = harness.verdict(real_models.path(name).read_bytes())
    assert (found.kind == "proven") == IN_WHEELS[name], found.words
