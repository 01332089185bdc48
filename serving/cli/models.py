"""``serving models``."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from serving.cli import options
from serving.cli.output import UserError, print_json, print_table

_AdminUrl = Annotated[
    str, typer.Option(metavar="URL", help="The gateway's admin port.", envvar="SERVING_ADMIN_URL")
]


def models(admin_url: _AdminUrl = "http://127.0.0.1:8082", as_json: options.Json = False) -> None:
    """List a running gateway's models with their versions and states."""
    listed = _fetch(admin_url)
    if as_json:
        print_json(listed)
        return
    print_table(
        ("MODEL", "VERSION", "STATE", "PROVIDER", "THREADS", "BATCHING", "REASON"),
        [row for model in listed for row in _rows(model)],
    )


def _fetch(admin_url: str) -> list[dict[str, Any]]:
    from serving.cli.client import request

    status, _, body = request("GET", f"{admin_url.rstrip('/')}/api/v1/models")
    try:
        answer = json.loads(body)
        listed = answer["models"]
    except (ValueError, KeyError, TypeError):
        listed = None
    if status != 200 or not isinstance(listed, list):
        raise UserError(f"{admin_url}: no list of models there (status {status})")
    return listed


def _rows(model: dict[str, Any]) -> list[tuple[object, ...]]:
    if not model["versions"]:
        return [(model["name"], None, None, None, None, None, model["reason"])]
    return [
        (
            model["name"],
            f"{v['version']}{' *' if v['version'] == model['default'] else ''}",
            v["state"],
            v["provider"],
            v["threads"],
            v["batching"],
            v["reason"],
        )
        for v in model["versions"]
    ]
