"""TensorFlow Serving's metadata and status of models, and how its requests name a version."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from serving.errors import ErrorCode, ServingError
from serving.model_config.schema import SignatureConfig
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.protocols.views import Directory, find_model, find_version, shown
from serving.signature import Tensor
from serving.wire import tf_messages, tfs_messages

# The signature that every model has, and how it is called.
SIGNATURE = "serving_default"
PREDICT = "tensorflow/serving/predict"
# The one field of metadata that there is.
FIELD = "signature_def"
_TYPE_URL = "type.googleapis.com/tensorflow.serving.SignatureDefMap"

# Our states in TensorFlow Serving's words.
STATES: Mapping[State, str] = {
    State.NEW: "START",
    State.LOADING: "LOADING",
    State.WARMING: "LOADING",
    State.READY: "AVAILABLE",
    State.DRAINING: "UNLOADING",
    State.GONE: "END",
    State.FAILED: "END",
}
_OK, _UNKNOWN = 0, 2
# Of a version's status, by name.
CODES: Mapping[int, str] = {_OK: "OK", _UNKNOWN: "UNKNOWN"}

DTYPES: Mapping[str, str] = {
    "BOOL": "DT_BOOL",
    "UINT8": "DT_UINT8",
    "UINT16": "DT_UINT16",
    "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64",
    "INT8": "DT_INT8",
    "INT16": "DT_INT16",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
    "FP16": "DT_HALF",
    "BF16": "DT_BFLOAT16",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BYTES": "DT_STRING",
}


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a request names. ``version`` as it came, so that it may be none that there can be;
    ``label`` where it was named by one; both None: the server's choice."""

    name: str
    version: int | None = None
    label: str | None = None

    @classmethod
    def of(cls, request: Any) -> ModelSpec:
        """Of a message with a ``model_spec``. Raises ServingError BAD_REQUEST without a name."""
        if not request.HasField("model_spec"):
            raise _bad("Missing ModelSpec")
        spec = request.model_spec
        if not spec.name:
            raise _bad("ModelSpec has no name specified.")
        chosen = spec.WhichOneof("version_choice")
        return cls(
            spec.name,
            spec.version.value if chosen == "version" else None,
            spec.version_label if chosen == "version_label" else None,
        )

    @property
    def _servable(self) -> str:
        name = shown(self.name)
        return f"Latest({name})" if self.version is None else f"Specific({name}, {self.version})"

    def find(self, directory: Directory) -> VersionView:
        """The READY version that would answer. Raises ServingError."""
        named = self.by_number(directory.view(self.name))
        try:
            view = find_model(directory, self.name)
            if named.version is not None and named.version < 1:
                raise ServingError(ErrorCode.NOT_FOUND, "a version is a positive integer")
            return find_version(view, named.version)
        except ServingError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                raise
            raise named._not_found(error.message) from None

    def by_number(self, view: ModelView | None) -> ModelSpec:
        """The same without a label; ``view``: the model's. Raises ServingError BAD_REQUEST where
        the model has it not, also where there is no such model, as TensorFlow Serving does."""
        if self.label is None:
            return self
        number = view.aliases.get(self.label) if view is not None else None
        if number is None:
            raise _bad(f"Unrecognized servable version label: {shown(self.label)}")
        return ModelSpec(self.name, number)

    def _not_found(self, why: str) -> ServingError:
        return ServingError(
            ErrorCode.NOT_FOUND, f"Servable not found for request: {self._servable}: {why}"
        )


def model_metadata(directory: Directory, request: Any) -> Any:
    """A ``GetModelMetadataResponse``: the signatures of a READY version. Raises ServingError."""
    spec = ModelSpec.of(request)
    if not request.metadata_field:
        raise _bad("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != FIELD:
            raise _bad(f"Metadata field {shown(name)} is not supported")
    version = spec.find(directory)
    response = tfs_messages.GetModelMetadataResponse()
    response.model_spec.name = spec.name
    response.model_spec.version.value = version.number
    packed = response.metadata[FIELD]
    packed.type_url, packed.value = _TYPE_URL, signatures(version).SerializeToString()
    return response


def signatures(version: VersionView) -> Any:
    """The ``SignatureDefMap`` of a version: all its signatures by name."""
    message = tfs_messages.SignatureDefMap()
    message.signature_def[SIGNATURE].CopyFrom(signature_def(version))
    facts = version.facts
    if facts.config is not None and facts.signature is not None:
        outputs = {tensor.name: tensor for tensor in facts.signature.outputs}
        for one in facts.config.signatures:
            message.signature_def[one.name].CopyFrom(_example_signature(one, outputs))
    return message


def _example_signature(one: SignatureConfig, outputs: Mapping[str, Tensor]) -> Any:
    """Of one that takes serialized examples, which is how they tell of ``Classify`` and
    ``Regress``: their outputs have names and types of their own."""
    message = tf_messages.SignatureDef(method_name=f"tensorflow/serving/{one.method}")
    examples = Tensor("input_example_tensor", "BYTES", (-1,))
    message.inputs["inputs"].CopyFrom(_tensor_info(examples))
    given = {
        "classes": (one.classes, "BYTES"),
        "scores": (one.scores, "FP32"),
        "outputs": (one.output, "FP32"),
    }
    for role, (name, datatype) in given.items():
        if name is not None and name in outputs:
            tensor = replace(outputs[name], datatype=datatype, described=None)
            message.outputs[role].CopyFrom(_tensor_info(tensor))
    return message


def signature_def(version: VersionView) -> Any:
    """The ``SignatureDef`` of a version: inputs and outputs as ``Predict`` takes and gives them."""
    message = tf_messages.SignatureDef(method_name=PREDICT)
    signature = version.facts.signature
    if signature is not None:
        for tensor in signature.inputs:
            message.inputs[tensor.name].CopyFrom(_tensor_info(tensor))
        for tensor in signature.outputs:
            message.outputs[tensor.name].CopyFrom(_tensor_info(tensor))
    return message


def _tensor_info(tensor: Tensor) -> Any:
    dtypes = tf_messages.enum("DataType")
    info = tf_messages.TensorInfo(name=f"{tensor.name}:0", dtype=dtypes[DTYPES[tensor.datatype]])
    # Set where there are no dimensions, too: a scalar.
    info.tensor_shape.SetInParent()
    for at, size in enumerate(tensor.client_shape):
        info.tensor_shape.dim.add(size=size, name=_dim_name(tensor, at))
    return info


def _dim_name(tensor: Tensor, at: int) -> str:
    """The graph's own, where the dimension may vary."""
    names = tensor.dim_names if tensor.described is None else ()
    name = names[at] if at < len(names) else ""
    return name if tensor.client_shape[at] < 0 else ""


def model_status(directory: Directory, request: Any) -> Any:
    """A ``GetModelStatusResponse`` for a message with a ``model_spec``. Raises ServingError."""
    return status_of(directory, ModelSpec.of(request))


def status_of(directory: Directory, spec: ModelSpec) -> Any:
    """A ``GetModelStatusResponse``: of the version named, else of all, the newest first. Raises
    ServingError."""
    view = directory.view(spec.name)
    known = view.versions if view is not None else ()
    number = spec.by_number(view).version
    if number is None:
        chosen = list(listed(known))
        missing = f"Could not find any versions of model {shown(spec.name)}"
    else:
        chosen = [version for version in known if version.number == number]
        missing = f"Could not find version {number} of model {shown(spec.name)}"
    if not chosen:
        raise ServingError(ErrorCode.NOT_FOUND, missing)
    response = tfs_messages.GetModelStatusResponse()
    response.model_version_status.extend(_status(version) for version in chosen)
    return response


def listed(versions: tuple[VersionView, ...]) -> Iterator[VersionView]:
    """The newest first. One that failed stays only until a higher one answers: clients take any
    that has ended for a model that doesn't."""
    best = max((v.number for v in versions if v.state is State.READY), default=0)
    for version in reversed(versions):
        if STATES[version.state] != "END" or version.number > best:
            yield version


def _status(version: VersionView) -> Any:
    state = STATES[version.state]
    message = tfs_messages.ModelVersionStatus(
        version=version.number,
        state=tfs_messages.enum("ModelVersionStatus.State")[state],
    )
    # Set at zero too, as clients print it.
    message.status.error_code = _OK
    if version.state is State.FAILED:
        message.status.error_code = _UNKNOWN
        message.status.error_message = version.reason or "could not be loaded"
    return message


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)
