"""The description of the HTTP port's calls."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from serving.errors import ErrorCode, ServingError
from serving.loading.inputs.example import MOST_KEPT, Example, example_of
from serving.loading.inputs.generated import STYLES, Plan
from serving.loading.inputs.samples import Sample
from serving.protocols.openapi import Documents, document
from serving.protocols.openapi.document import MOST_MODELS, MOST_OWN
from serving.protocols.openapi.tensors import example, request_schema
from serving.protocols.views import Directory
from serving.registry.mlmodel import Declared, Field
from serving.signature import Signature, Tensor
from tests.unit.protocol_views import FACTS, Models, failed, model, version

X = Tensor("x", "FP32", (-1, 2))


def signature(*inputs: Tensor, output: str = "FP32") -> Signature:
    return Signature(inputs, (Tensor("y", output, (-1,)),))


def facts(one: Signature, feeds: dict[str, Any] | None = None, plan: Plan | None = None) -> Any:
    found = Example(feeds, plan) if feeds is not None or plan is not None else None
    return replace(FACTS, signature=one, example=found)


def generated(*inputs: Tensor, size: int = 1) -> Plan:
    sizes = {(t.name, axis): size for t in inputs for axis, dim in enumerate(t.shape) if dim < 0}
    return Plan(inputs, sizes, STYLES[0], by_rows=False)


def model_document(directory: Directory, name: str, server_name: str) -> Any:
    """Made anew."""
    return json.loads(Documents().of_model(directory, name, server_name))


def body(one: Any, path: str) -> Any:
    content = one["paths"][path]["post"]["requestBody"]["content"]
    return content["application/json"]


def test_models_that_answer_are_described_and_no_others() -> None:
    views = Models(
        model("a b/{c}", version(1)), model("two", failed(1, "broken")), model("none")
    ).views()
    found = document(views, "mine")
    OpenAPIV31SpecValidator(found).validate()
    assert found["info"]["title"] == "mine"
    assert "/v2/models/a%20b%2F%7Bc%7D/infer" in found["paths"]
    assert not [path for path in found["paths"] if "two" in path or "none" in path]


def test_the_document_of_all_has_a_hundred_models() -> None:
    views = Models(*(model(f"m{number:03}", version(1)) for number in range(120))).views()
    found = document(views, "mine")
    paths = [path for path in found["paths"] if path.startswith("/v2/models/m")]
    assert len(paths) == MOST_MODELS == 100
    assert "the first 100 of 120" in found["info"]["description"]
    names = [found["paths"][path]["post"]["operationId"] for path in paths]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["version", "version_infer", "ready", "any_model_infer"])
def test_no_models_name_makes_two_operations_of_one_name(name: str) -> None:
    models = Models(model(name, version(1)))
    for found in (model_document(models, name, "mine"), document(models.views(), "mine")):
        items = [call for path in found["paths"].values() for call in path.values()]
        names = [call["operationId"] for call in items if "operationId" in call]
        assert len(set(names)) == len(names) > 8


def test_names_that_look_alike_have_operations_of_their_own() -> None:
    views = Models(*(model(name, version(1)) for name in ("a-b", "a_b", "a_2d_b", "a b"))).views()
    posts = [
        item["post"]["operationId"]
        for item in document(views, "m")["paths"].values()
        if "post" in item
    ]
    assert len(set(posts)) == len(posts)


def test_the_document_is_made_anew_only_after_a_change() -> None:
    class Changing(Models):
        shown = Models(model("m", version(1))).views()

        def views(self) -> Any:
            return self.shown

    directory, documents = Changing(), Documents()
    first = documents.all(directory, "mine")
    assert documents.all(directory, "mine") is first
    directory.shown = Models(model("n", version(1))).views()
    assert "/v2/models/n/infer" in json.loads(documents.all(directory, "mine"))["paths"]


def test_a_models_own_document_is_made_anew_only_after_a_change() -> None:
    documents = Documents()
    before = Models(model("m", version(1)))
    first = documents.of_model(before, "m", "mine")
    assert json.loads(first) == model_document(before, "m", "mine")
    assert documents.of_model(before, "m", "mine") is first
    after = Models(model("m", version(2, signature=signature(X))))
    for directory, name in ((after, "mine"), (after, "other"), (before, "mine")):
        found = json.loads(documents.of_model(directory, "m", name))
        assert found == model_document(directory, "m", name)
    with pytest.raises(ServingError):
        documents.of_model(Models(model("m", failed(1, "broken"))), "m", "mine")


def test_a_few_models_own_documents_are_kept() -> None:
    documents, names = Documents(), [f"m{number}" for number in range(MOST_OWN + 1)]
    models = Models(*(model(name, version(1)) for name in names))
    first, *others = [documents.of_model(models, name, "mine") for name in names]
    for name, text in zip(names[1:], others, strict=True):
        assert documents.of_model(models, name, "mine") is text
    assert documents.of_model(models, names[0], "mine") is not first


def test_a_model_of_many_tensors_is_described_in_its_own_document_alone() -> None:
    many = signature(*(Tensor(f"x{number}", "FP32", (1,)) for number in range(80)))
    models = Models(model("wide", version(1, signature=many)))
    shared = body(document(models.views(), "m"), "/v2/models/wide/infer")
    assert shared == {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}
    own = body(model_document(models, "wide", "m"), "/v2/models/wide/infer")
    assert own["schema"]["properties"]["inputs"]["maxItems"] == 80


def test_a_document_that_is_too_large_is_made_once_without_schemas_of_its_own() -> None:
    long = signature(*(Tensor(f"{'x' * 200}{number}", "FP32", (1,)) for number in range(2000)))
    models, documents = Models(model("wide", version(1, signature=long))), Documents()
    text = documents.of_model(models, "wide", "m")
    assert len(text) < 100_000
    OpenAPIV31SpecValidator(json.loads(text)).validate()
    assert (
        "too many inputs"
        in json.loads(text)["paths"]["/v2/models/wide/infer"]["post"]["description"]
    )
    assert documents.of_model(models, "wide", "m") is text


COLUMNS = Declared("columns", (Field("a", "FP64", (), True, "double", "double"),))


def test_other_protocols_are_described_where_they_can_ask_the_model() -> None:
    half, short = signature(Tensor("h", "FP16", (2,))), signature(Tensor("s", "UINT16", (2,)))
    views = Models(
        model("plain", version(1, signature=signature(X), example=Example(plan=generated(X)))),
        model("half", version(1, signature=half)),
        model("short", version(1, signature=short)),
        model("maps", version(1, declared=replace(COLUMNS, unusable="why"))),
        model("columns", version(1, signature=signature(X), declared=COLUMNS)),
    ).views()
    found = document(views, "m")
    OpenAPIV31SpecValidator(found).validate()
    predicted = [name for name in NAMES if f"/v1/models/{name}:predict" in found["paths"]]
    scored = [name for name in NAMES if f"/models/{name}/invocations" in found["paths"]]
    assert predicted == ["plain", "maps", "columns"]
    assert scored == ["plain", "half", "short", "columns"]
    asked = body(found, "/v1/models/plain:predict")
    assert len(asked["example"]["inputs"]["x"][0]) == 2
    tensor = asked["schema"]["properties"]["inputs"]["anyOf"][0]["properties"]["x"]
    assert tensor["items"] == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 2,
        "maxItems": 2,
    }
    assert body(found, "/models/plain/invocations")["example"] == asked["example"]
    rows = body(found, "/models/columns/invocations")["schema"]["properties"]["dataframe_records"]
    assert rows["items"]["required"] == ["a"]


NAMES = ("plain", "half", "short", "maps", "columns")


def test_a_tensor_of_any_rank_has_a_schema() -> None:
    deep = Tensor("d", "FP32", (1,) * 5000)
    json.dumps(document(Models(model("deep", version(1, signature=signature(deep)))).views(), "m"))


@pytest.mark.parametrize(
    ("name", "code"), [("nowhere", ErrorCode.NOT_FOUND), ("m", ErrorCode.UNAVAILABLE)]
)
def test_what_does_not_answer_has_no_document(name: str, code: ErrorCode) -> None:
    with pytest.raises(ServingError) as caught:
        model_document(Models(model("m", failed(1, "broken"))), name, "mine")
    assert caught.value.code is code


def test_a_schema_has_ranks_sizes_and_ranges() -> None:
    one = signature(X, Tensor("k", "INT8", (), optional=True))
    inputs = request_schema(one)["properties"]["inputs"]
    assert (inputs["minItems"], inputs["maxItems"]) == (1, 2)
    x, k = inputs["items"]["anyOf"]
    dims = x["properties"]["shape"]
    assert dims["prefixItems"] == [{"type": "integer", "minimum": 0}, {"const": 2}]
    assert (dims["minItems"], dims["maxItems"]) == (2, 2)
    assert k["properties"]["shape"]["maxItems"] == 0
    element = k["properties"]["data"]["items"]["anyOf"][0]
    assert (element["minimum"], element["maximum"]) == (-128, 127)


def test_an_example_is_as_clients_see_the_model() -> None:
    described = Tensor("x", "FP32", (-1, 4), described=(-1, 2, 2))
    found = example(facts(signature(described), plan=generated(described)), 100)
    assert found is not None
    assert found["inputs"][0]["shape"] == [1, 2, 2]
    texts = Tensor("t", "BYTES", (-1,))
    found = example(facts(signature(texts), plan=generated(texts)), 100)
    assert found is not None
    assert all(isinstance(one, str) for one in found["inputs"][0]["data"])
    half = example(facts(signature(X, output="FP16"), plan=generated(X)), 100)
    assert half is not None
    assert half["parameters"] == {"binary_data_output": True}


@pytest.mark.parametrize("width", [32, 64])
def test_an_example_has_the_very_values_that_ran(width: int) -> None:
    ran = np.array([[1.5e-7, 1 / 3], [3.4e38, -0.1]], f"float{width}")
    tensor = Tensor("x", f"FP{width}", (-1, 2))
    found = example(facts(signature(tensor), feeds={"x": ran}), 100)
    assert found is not None
    data = json.loads(json.dumps(found["inputs"][0]["data"]))
    np.testing.assert_array_equal(np.array(data, ran.dtype).reshape(ran.shape), ran)
    assert json.dumps(data[0]) == "1.5e-07"
    assert len(json.dumps(data[1])) == {32: 10, 64: 18}[width], "no digit more than it takes"


def test_an_own_example_has_at_most_4096_values() -> None:
    for size, has_example in ((4096, True), (4097, False)):
        wide = Tensor("x", "FP32", (1, size))
        models = Models(
            model("m", version(1, signature=signature(wide), example=Example(plan=generated(wide))))
        )
        own = body(model_document(models, "m", "mine"), "/v2/models/m/infer")
        assert ("example" in own) is has_example


def test_there_is_no_example_where_none_can_work_or_stand() -> None:
    half = Tensor("h", "FP16", (2,))
    nan = {"x": np.array([[np.nan, 1]], np.float32)}
    for one in (
        facts(signature(X)),
        facts(signature(half), plan=generated(half)),
        facts(signature(X), feeds=nan),
        facts(signature(X), plan=generated(X, size=51)),
    ):
        assert example(one, 100) is None
        found = document(
            Models(model("m", version(1, signature=one.signature, example=one.example))).views(),
            "m",
        )
        json.dumps(found, allow_nan=False)


def test_the_users_samples_are_not_shown_but_for_mlflows_example() -> None:
    feeds, plan = {"x": np.ones((1, 2), np.float32)}, generated(X)
    own = Sample("warm-up sample 'patients'", feeds)
    assert example_of([own], plan) == Example(plan=plan)
    assert example_of([own], None) is None
    shown = example_of([own, Sample("MLflow's input example", feeds, shown=True)], plan)
    assert shown is not None
    assert shown.make() is feeds
    large = Sample("e", {"x": np.ones((MOST_KEPT + 1,), np.float32)}, shown=True)
    assert example_of([large], plan) == Example(plan=plan)
