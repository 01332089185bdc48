"""Signatures that a configuration names for ``Classify`` and ``Regress``: which inputs an
example's features fill, and which outputs tell of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from pydantic import TypeAdapter, ValidationError

from serving.errors import ConfigError
from serving.model_config.schema import SignatureConfig
from serving.model_config.words import suggestion
from serving.model_config.yaml_keys import SignatureYaml
from serving.signature import Signature, Tensor

# As many as a MultiInference has tasks.
MAX_SIGNATURES = 64
MAX_NAME_BYTES = 1024
# Every model's own, by Predict.
DEFAULT = "serving_default"

# No list of a feature holds these.
_NO_FEATURE = ("FP16", "BF16")
_FLOATS = ("FP32", "FP64")
_CLASSES = ("BYTES", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)))


def to_signatures(keys: Mapping[str, SignatureYaml]) -> tuple[SignatureConfig, ...]:
    """In their order."""
    return tuple(
        SignatureConfig(
            name, one.method, tuple(one.inputs or ()), one.classes, one.scores, one.output
        )
        for name, one in keys.items()
    )


def read_json(text: str) -> tuple[SignatureConfig, ...]:
    """Those of config.pbtxt's parameter: the keys of model.yaml, as JSON. Raises ConfigError."""
    try:
        return to_signatures(TypeAdapter(dict[str, SignatureYaml]).validate_json(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        said = f"{where}: {first['msg']}" if where else first["msg"]
        raise ConfigError(f"parameter 'signatures': {said}") from None


def to_json(signatures: tuple[SignatureConfig, ...]) -> str:
    """As ``read_json`` takes them; "" for none."""
    plain = {
        one.name: {key: value for key, value in asdict(one).items() if key != "name" and value}
        for one in signatures
    }
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":")) if plain else ""


def check(signatures: tuple[SignatureConfig, ...]) -> None:
    """Raise ConfigError for the first rule that holds for every model and is broken."""
    if len(signatures) > MAX_SIGNATURES:
        raise ConfigError(f"at most {MAX_SIGNATURES} signatures, got {len(signatures)}")
    for one in signatures:
        _check_name(one.name)
        gives = {"classes": one.classes, "scores": one.scores, "output": one.output}
        said = {key for key, value in gives.items() if value is not None}
        takes = {"classes", "scores"} if one.method == "classify" else {"output"}
        where = f"signature {one.name!r}"
        for key in sorted(said - takes):
            raise ConfigError(f"{where}: method {one.method} has no {key!r}")
        if not said:
            raise ConfigError(f"{where}: method {one.method} needs {_either(takes)}")
        if one.classes is not None and one.classes == one.scores:
            raise ConfigError(f"{where}: classes and scores are the same output")
        if len(set(one.inputs)) < len(one.inputs):
            raise ConfigError(f"{where}: an input is listed twice")


def _check_name(name: str) -> None:
    if not name or not name.isprintable() or len(name.encode()) > MAX_NAME_BYTES:
        raise ConfigError(
            f"a signature's name has 1 to {MAX_NAME_BYTES} printable bytes, got {name[:64]!r}"
        )
    if name == DEFAULT:
        raise ConfigError(
            f"a signature cannot be called {DEFAULT!r}: that is the model itself, by Predict; who"
            " classifies without naming a signature gets the model's only one of that method"
        )


def _either(keys: set[str]) -> str:
    return " or ".join(repr(key) for key in sorted(keys))


def fitted(
    signatures: tuple[SignatureConfig, ...], signature: Signature
) -> tuple[SignatureConfig, ...]:
    """With all inputs where none are listed. Raises ConfigError where the model's own
    ``signature`` has not what they name, or has it in a form that examples cannot have."""
    return tuple(_fitted(one, signature) for one in signatures)


def _fitted(one: SignatureConfig, signature: Signature) -> SignatureConfig:
    where = f"signature {one.name!r}"
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    names = one.inputs or tuple(
        t.name for t in signature.inputs if not (t.optional and _why_no_feature(t))
    )
    for name in names:
        tensor = _find(where, "input", name, inputs)
        if why := _why_no_feature(tensor):
            raise ConfigError(f"{where}: input {name!r} {why}")
    for tensor in signature.inputs:
        if not tensor.optional and tensor.name not in names:
            raise ConfigError(f"{where} lacks the input {tensor.name!r}, which the model needs")
    outputs = {tensor.name: tensor for tensor in signature.outputs}
    given = {
        role: _find(where, "output", name, outputs)
        for role, name in (("classes", one.classes), ("scores", one.scores), ("output", one.output))
        if name is not None
    }
    for role, tensor in given.items():
        if why := _why_no(role, tensor):
            raise ConfigError(f"{where}: output {tensor.name!r} {why}")
    if len(given) == 2:
        _check_pair(where, given["classes"], given["scores"])
    return replace(one, inputs=names)


def _find(where: str, side: str, name: str, known: Mapping[str, Tensor]) -> Tensor:
    if name not in known:
        raise ConfigError(f"{where}: the model has no {side} {name!r}{suggestion(name, known)}")
    return known[name]


def _why_no_feature(tensor: Tensor) -> str:
    """Why no feature can be a row of the input, "" where one can."""
    if tensor.datatype in _NO_FEATURE:
        return f"is {tensor.datatype}, which no feature of an example can be"
    row = tensor.shape[1:]
    if tensor.shape[:1] != (-1,):
        return f"is {_shape(tensor)}: axis 0 must vary, for it counts the examples"
    if 0 in row:
        return f"is {_shape(tensor)}: a row of it has no values"
    if row.count(-1) > 1:
        return (
            f"is {_shape(tensor)}: of a row's dimensions one may vary, for a feature has"
            " only its number of values"
        )
    return ""


def _why_no(role: str, tensor: Tensor) -> str:
    """Why the output cannot be what the signature takes it for, "" where it can."""
    wanted = _CLASSES if role == "classes" else _FLOATS
    if tensor.datatype not in wanted:
        return f"is {tensor.datatype}, {role} are {' or '.join(_short(wanted))}"
    if tensor.shape[:1] != (-1,):
        return f"is {_shape(tensor)}: axis 0 must vary, for it counts the examples"
    if len(tensor.shape) > 2:
        return f"is {_shape(tensor)}: {role} have one dimension beside the examples' at most"
    if role == "output" and tensor.shape[1:] not in ((), (1,), (-1,)):
        return f"is {_shape(tensor)}: a regression has one value for each example"
    return ""


def _short(datatypes: tuple[str, ...]) -> Iterator[str]:
    yield datatypes[0]
    yield "integers" if len(datatypes) > 2 else datatypes[1]


def _check_pair(where: str, classes: Tensor, scores: Tensor) -> None:
    sizes = [tensor.shape[1] if len(tensor.shape) > 1 else 1 for tensor in (classes, scores)]
    if -1 not in sizes and sizes[0] != sizes[1]:
        raise ConfigError(
            f"{where}: each class has a score, but {classes.name!r} is {_shape(classes)} and"
            f" {scores.name!r} is {_shape(scores)}; name one of them only"
        )


def _shape(tensor: Tensor) -> str:
    return f"{list(tensor.shape)}"


def for_core(
    signatures: tuple[SignatureConfig, ...],
) -> list[tuple[str, str, list[str], dict[str, str]]]:
    """Those that are ``fitted``, as ``_core.Queue`` takes them."""
    return [
        (
            one.name,
            one.method,
            list(one.inputs),
            {
                role: name
                for role, name in (
                    ("classes", one.classes),
                    ("scores", one.scores),
                    ("value", one.output),
                )
                if name is not None
            },
        )
        for one in signatures
    ]
