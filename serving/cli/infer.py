"""``serving infer``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import address, asking
from serving.cli.output import UserError, print_json, print_line, print_table

if TYPE_CHECKING:
    from serving_client import InferResult, TensorMetadata


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"
    NPZ = "npz"


def infer(
    model: Annotated[str, typer.Argument(help="The model's name.")],
    url: address.Url = None,
    protocol: address.ProtocolOption = None,
    version: Annotated[
        str,
        typer.Option(help="A version or an alias. Default: the one that the gateway routes to."),
    ] = "",
    json_file: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help='Inputs as JSON: {"name": [[1, 2]]} or a request of the protocol. -: stdin.',
        ),
    ] = None,
    npy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="One input from a .npy file. Repeatable."),
    ] = None,
    npz: Annotated[
        Path | None, typer.Option(metavar="FILE", help="All inputs from a .npz file.")
    ] = None,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make up inputs that fit the signature.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="Of generated inputs, along axis 0.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of generated inputs.")] = 0,
    output: Annotated[Form, typer.Option(help="How to show the answer.")] = Form.TABLE,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; npz needs one.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.001, help="In seconds.")] = 60.0,
) -> None:
    """Send one request to a running gateway and print the answer."""
    _check_sources(json_file, npy, npz, generate)
    version = _version(version)
    if output is Form.NPZ and out is None:
        raise UserError("--output npz needs --out FILE", code=2)
    door = address.door(url, protocol)
    version = asking.number_of(*door, timeout, model, version)
    with asking.open_client(*door, timeout) as client, asking.in_words():
        specs = client.metadata(model, version=version).inputs
        if generate:
            inputs = _generated(specs, rows, seed)
        else:
            inputs = _known(_read(json_file, npy, npz), specs)
        answer = client.infer(model, inputs, version=version)
    _show(answer, output, out)


def _version(text: str) -> str:
    """As it was typed, where it can be an alias: which ones there are only the gateway knows."""
    from serving.registry.names import version_number

    if not text.lstrip("+-").isdecimal():
        return text
    try:
        return str(version_number(text))
    except ValueError as error:
        raise UserError(f"--version: {error}, got '{text}'", code=2) from None


def _check_sources(
    json_file: str | None, npy: list[str] | None, npz: Path | None, generate: bool
) -> None:
    given = [json_file is not None, bool(npy) or npz is not None, generate]
    if sum(given) != 1:
        raise UserError(
            "say where the inputs come from: --json, --npy and --npz, or --generate", code=2
        )


def _read(json_file: str | None, npy: list[str] | None, npz: Path | None) -> dict[str, Any]:
    """Name -> nested lists or array; (data, shape) where the JSON gives a shape."""
    if json_file is not None:
        return _from_json(json_file)
    import numpy as np

    found: dict[str, Any] = {}
    try:
        if npz is not None:
            with np.load(npz, allow_pickle=False) as archive:  # file: named by who runs this
                found.update({name: archive[name] for name in archive.files})
        for item in npy or ():
            name, equals, file = item.partition("=")
            if not equals:
                raise UserError(f"--npy: expected NAME=FILE, got '{item}'", code=2)
            found[name] = np.load(file, allow_pickle=False)  # file: named by who runs this
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"can't read the arrays: {error}", code=2) from None
    return found


def _text(file: str) -> str:
    return Path(file).read_text(encoding="utf-8-sig")  # file: named by who runs this


def _from_json(file: str) -> dict[str, Any]:
    try:
        content = json.loads(
            sys.stdin.read().removeprefix("\ufeff") if file == "-" else _text(file)
        )
        if isinstance(content, dict) and isinstance(content.get("inputs"), list):
            return {i["name"]: (i["data"], tuple(i["shape"])) for i in content["inputs"]}
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}", code=2) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not valid JSON: {error}", code=2) from None
    except (KeyError, TypeError):
        raise UserError(f"{file}: an input needs name, shape and data", code=2) from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected an object with the inputs by name", code=2)
    return content


def _known(given: Mapping[str, Any], specs: Sequence[TensorMetadata]) -> dict[str, Any]:
    """In the shapes that were given, where any were."""
    datatypes = {spec.name: spec.datatype for spec in specs}
    values = {}
    for name, entry in given.items():
        if name not in datatypes:
            expected = ", ".join(datatypes) or "none"
            raise UserError(f"the model has no input '{name}' (its inputs: {expected})", code=2)
        data, shape = entry if isinstance(entry, tuple) else (entry, None)
        values[name] = data if shape is None else _shaped(name, data, datatypes[name], shape)
    return values


def _shaped(name: str, data: object, datatype: str, shape: tuple[int, ...]) -> Any:
    import numpy as np

    try:
        return np.asarray(data, object if datatype == "BYTES" else None).reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(f"input '{name}' does not fit its shape: {error}") from None


def _generated(specs: Sequence[TensorMetadata], rows: int, seed: int) -> dict[str, Any]:
    import numpy as np

    from serving.cli.samples import generated
    from serving.signature import Tensor

    generator = np.random.default_rng(seed)
    values = {}
    for spec in specs:
        array = generated(Tensor(spec.name, spec.datatype, spec.shape), rows, generator)
        # There BF16 is the upper half of a float's bits.
        of_bits = spec.datatype == "BF16"
        values[spec.name] = (array.astype(np.uint32) << 16).view(np.float32) if of_bits else array
    return values


def _show(answer: InferResult, form: Form, out: Path | None) -> None:
    try:
        _write(answer, form, out)
    except OSError as error:
        if out is None:
            raise
        raise UserError(f"--out {out}: {error.strerror}", code=2) from None


def _write(answer: InferResult, form: Form, out: Path | None) -> None:
    if form is Form.NPZ and out is not None:
        _write_npz(answer, out)
        return
    if form is Form.JSON or out is not None:
        content = _as_json(answer)
        if out is None:
            print_json(content)
        else:
            out.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
        return
    print_line(f"{answer.model} {answer.version}")
    print_table(("OUTPUT", "DATATYPE", "SHAPE", "VALUES"), _rows(answer))


def _write_npz(answer: InferResult, out: Path) -> None:
    import numpy as np

    arrays: dict[str, Any] = {}
    for name in answer:
        array = asking.readable(answer, name)
        # Fixed-width text, since objects would be written as pickles.
        arrays[name] = array.astype(str) if array.dtype == object else array
    with out.open("wb") as file:  # file: written
        np.savez(file, **arrays)


def _as_json(answer: InferResult) -> dict[str, Any]:
    return {
        "model_name": answer.model,
        "model_version": answer.version,
        "outputs": [
            {
                "name": name,
                "datatype": answer.datatypes[name],
                "shape": list(array.shape),
                "data": asking.readable(answer, name).reshape(-1).tolist(),
            }
            for name, array in answer.items()
        ],
    }


def _rows(answer: InferResult) -> list[tuple[object, ...]]:
    import numpy as np

    with np.printoptions(threshold=64, edgeitems=3, precision=6, suppress=True, linewidth=10**6):
        return [
            (
                name,
                answer.datatypes[name],
                str(list(array.shape)),
                " ".join(str(asking.readable(answer, name)).split()),
            )
            for name, array in answer.items()
        ]
