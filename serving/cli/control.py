"""Talking to a gateway's admin port."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from serving.cli.listing import Extent
from serving.cli.output import UserError, clean

AdminUrl = Annotated[
    str, typer.Option(metavar="URL", help="The gateway's admin port.", envvar="SERVING_ADMIN_URL")
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="File with the token, where the gateway asks for one.",
        envvar="SERVING_ADMIN_TOKEN_FILE",
    ),
]
DEFAULT_URL = "http://127.0.0.1:8082"
# Beyond the time that the gateway itself waits for a command.
_SLACK_S = 10.0
# Models that are asked for at once.
_PAGE = 500


@dataclass(frozen=True, slots=True)
class AdminPort:
    url: str
    token_file: Path | None

    def __post_init__(self) -> None:
        """Raises UserError: said of what was typed, not of an address made of it."""
        scheme, separator, _ = self.url.partition("://")
        if separator and scheme.lower() != "http":
            tls = " (TLS is not spoken here)" if scheme.lower() in ("https", "grpcs") else ""
            raise UserError(
                f"'{self.url}' is no address of an admin port{tls}: expected http://HOST:PORT, as"
                f" {DEFAULT_URL}",
                code=2,
            )
        from serving.cli.exchange import parts_of

        parts_of(self.url)

    def get(self, path: str) -> dict[str, Any]:
        """Raises UserError for every answer but a good one."""
        return self._ask("GET", path, None, 60.0)

    def models(
        self, names: Sequence[str], states: Sequence[str], limit: int | None
    ) -> tuple[list[dict[str, Any]], Extent]:
        """The models that the admin port lists for these filters, by name; a page at a time, so
        that no answer grows with the registry. Raises UserError."""
        found: list[dict[str, Any]] = []
        asked = [("name", name) for name in names] + [("state", state) for state in states]
        after, total = "", 0
        while True:
            most = _PAGE if limit is None else min(_PAGE, limit - len(found))
            query = urlencode([*asked, ("limit", most), *([("after", after)] if after else [])])
            page = self.get(f"/api/v1/models?{query}")
            if not isinstance(page.get("models"), list):
                raise UserError(f"{self.url}: no list of models there")
            found += page["models"]
            after, total = page.get("next") or "", page.get("total", len(found))
            if not after or (limit is not None and len(found) >= limit):
                return found, Extent(total, filtered=bool(asked), cut=bool(after))

    def command(
        self, model: str, verb: str, body: dict[str, Any], wait: bool, timeout: float
    ) -> dict[str, Any]:
        """Raises UserError for what was refused or failed."""
        query = f"wait=true&timeout={timeout:g}" if wait else "wait=false"
        path = f"{model_path(model)}/{verb}?{query}"
        return self._ask("POST", path, body, timeout + _SLACK_S)

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, timeout: float
    ) -> dict[str, Any]:
        from serving.cli.exchange import request

        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.token_file is not None:
            headers["Authorization"] = f"Bearer {_token(self.token_file)}"
        content = json.dumps(body).encode() if body is not None else None
        url = f"{self.url.rstrip('/')}{path}"
        status, _, text = request(method, url, content, headers, timeout)
        return _answer(self.url, status, text, self.token_file)


def model_path(model: str) -> str:
    return f"/api/v1/models/{quote(model, safe='')}"


def _answer(url: str, status: int, text: bytes, token_file: Path | None) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise UserError(f"{url}: no admin port of a gateway (status {status})")
    if status in (200, 202):
        return answer
    words = clean(str(answer.get("error", f"status {status}")))
    if status == 401:
        words += f" ({_where(token_file)})"
    raise UserError(words)


def _where(token_file: Path | None) -> str:
    """Where the token came from, or can be given."""
    if token_file is not None:
        return f"it came from {token_file}"
    return "the file with it: --token-file, or SERVING_ADMIN_TOKEN_FILE"


def _token(file: Path) -> str:
    try:
        token = file.read_text(
            encoding="ascii"
        ).strip()  # file: named by who runs this: a pipe is welcome
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}", code=2) from None
    except UnicodeDecodeError:
        raise UserError(f"{file}: not a token's file", code=2) from None
    if not token or not token.isprintable():
        raise UserError(f"{file}: not a token's file", code=2)
    return token
