"""A session's inputs and outputs as a signature."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from serving.errors import LoadError
from serving.model_config.schema import ModelConfig
from serving.signature import LeftOut, Signature, Tensor

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
    "tensor(bfloat16)": "BF16",
}


def signature_of(session: Any, unshaped: Iterable[str], config: ModelConfig) -> Signature:
    """The signature that a loaded session states.

    Graph inputs with an initializer become optional inputs. ``unshaped`` are the graph
    inputs that state no shape, which onnxruntime shows like scalars; the configuration must
    give them one. Raises LoadError where it does not, for an input that no tensor protocol
    carries, for a name that is no UTF-8, and where no output is left.
    """
    try:
        return _signature_of(session, unshaped, config)
    except UnicodeDecodeError:
        raise LoadError("the name of an input or output is no UTF-8") from None


def _signature_of(session: Any, unshaped: Iterable[str], config: ModelConfig) -> Signature:
    shapes = {t.name: t.shape for t in config.inputs if t.shape is not None}
    given = {t.name: t.shape for t in config.outputs if t.shape is not None}
    free = session.get_overridable_initializers()
    names = {arg.name for arg in free}
    required = [arg for arg in session.get_inputs() if arg.name not in names]
    for name in unshaped:
        if name not in shapes and name in {arg.name for arg in required}:
            raise LoadError(
                f"input '{name}' states no shape: give its dims in the model's configuration"
            )
    stated = {name: shapes[name] for name in unshaped if name in shapes}
    inputs = [_input(arg, stated, optional=False) for arg in required]
    inputs += [_input(arg, stated, optional=True) for arg in free]
    outputs, left_out = _outputs(session.get_outputs(), given)
    return Signature(tuple(inputs), tuple(outputs), left_out)


def _input(arg: Any, stated: dict[str, tuple[int, ...]], optional: bool) -> Tensor:
    datatype = _DATATYPES.get(arg.type)
    if datatype is None:
        raise LoadError(f"input '{arg.name}' is {arg.type}, which no tensor protocol can carry")
    return _tensor(arg, datatype, stated.get(arg.name), optional)


def _outputs(
    args: Iterable[Any], given: dict[str, tuple[int, ...]]
) -> tuple[list[Tensor], tuple[LeftOut, ...]]:
    """The outputs to serve, and those that cannot be."""
    kept, left_out = list[Tensor](), list[LeftOut]()
    for arg in args:
        datatype = _DATATYPES.get(arg.type)
        if datatype is None:
            left_out.append(LeftOut(arg.name, arg.type))
            continue
        # An output may state no shape, or be a scalar: onnxruntime shows both as []. Where
        # the configuration says more than [1], Triton's way to write a scalar, it knows.
        shape = given.get(arg.name, (1,))
        kept.append(_tensor(arg, datatype, shape if not arg.shape and shape != (1,) else None))
    if not kept:
        said = "; ".join(map(str, left_out)) or "it has none"
        raise LoadError(f"the model has no output that a tensor protocol can carry ({said})")
    return kept, tuple(left_out)


def _tensor(
    arg: Any, datatype: str, stated: tuple[int, ...] | None = None, optional: bool = False
) -> Tensor:
    dims = arg.shape if stated is None else stated
    return Tensor(
        name=arg.name,
        datatype=datatype,
        shape=tuple(dim if isinstance(dim, int) and dim >= 0 else -1 for dim in dims),
        optional=optional,
        dim_names=tuple("" if dim in (None, -1) else str(dim) for dim in dims),
    )
