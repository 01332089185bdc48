"""``serving infer``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli import address
from serving.cli.output import UserError, print_json, print_line, print_table

if TYPE_CHECKING:
    from serving.cli.client import Answer, Client, Value


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
    with closing(_client(*address.door(url, protocol), timeout)) as client:
        version = client.named(model, version)
        specs = client.inputs(model, version)
        if generate:
            inputs = _generated(specs, rows, seed)
        else:
            inputs = _typed(_read(json_file, npy, npz), specs)
        answer = client.infer(model, version, inputs)
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


def _client(protocol: address.Protocol, url: str, timeout: float) -> Client:
    from serving.cli.client import GrpcClient, HttpClient

    if protocol is address.Protocol.GRPC:
        return GrpcClient(url, timeout)
    return HttpClient(url, timeout)


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


def _typed(given: Mapping[str, Any], specs: list[dict[str, Any]]) -> dict[str, Value]:
    from serving.cli.client import value_of

    known = {spec["name"]: spec["datatype"] for spec in specs}
    values = {}
    for name, entry in given.items():
        if name not in known:
            expected = ", ".join(known) or "none"
            raise UserError(f"the model has no input '{name}' (its inputs: {expected})", code=2)
        data, shape = entry if isinstance(entry, tuple) else (entry, None)
        values[name] = value_of(data, known[name], shape)
    return values


def _generated(specs: list[dict[str, Any]], rows: int, seed: int) -> dict[str, Value]:
    import numpy as np

    from serving.cli.client import value_of
    from serving.cli.samples import generated
    from serving.signature import Tensor

    generator = np.random.default_rng(seed)
    return {
        s["name"]: value_of(
            generated(Tensor(s["name"], s["datatype"], tuple(s["shape"])), rows, generator),
            s["datatype"],
        )
        for s in specs
    }


def _show(answer: Answer, form: Form, out: Path | None) -> None:
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


def _write_npz(answer: Answer, out: Path) -> None:
    import numpy as np

    from serving.cli.client import plain

    arrays: dict[str, Any] = {}
    for name, value in answer.outputs.items():
        array = plain(value)
        # Fixed-width text, since objects would be written as pickles.
        arrays[name] = array.astype(str) if array.dtype == object else array
    with out.open("wb") as file:  # file: written
        np.savez(file, **arrays)


def _as_json(answer: Answer) -> dict[str, Any]:
    from serving.cli.client import plain

    return {
        "model_name": answer.model,
        "model_version": answer.version,
        "outputs": [
            {
                "name": name,
                "datatype": value.datatype,
                "shape": list(value.array.shape),
                "data": plain(value).reshape(-1).tolist(),
            }
            for name, value in answer.outputs.items()
        ],
    }


def _rows(answer: Answer) -> list[tuple[object, ...]]:
    import numpy as np

    from serving.cli.client import plain

    with np.printoptions(threshold=64, edgeitems=3, precision=6, suppress=True, linewidth=10**6):
        return [
            (
                name,
                value.datatype,
                str(list(value.array.shape)),
                " ".join(str(plain(value)).split()),
            )
            for name, value in answer.outputs.items()
        ]
