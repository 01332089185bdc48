"""The page itself: files of our own, and the chart library where the build has put it into
``bundle/`` (``deploy/pages/fetch_charts.py``); without it figures are shown as
tables."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from serving.user_files import read_file

_STATIC = Path(__file__).parent / "static"
BUNDLE = Path(__file__).parent / "bundle"
_MOST_BYTES = 1024 * 1024
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
_OF_BUNDLE = ("uPlot.iife.min.js", "uPlot.min.css", "LICENSE.txt")
_CHARTS = (
    '<link rel="stylesheet" href="console/uPlot.min.css">\n'
    '<script src="console/uPlot.iife.min.js" defer></script>'
)
# Nothing from elsewhere, nothing inline, and this port alone is asked.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class _File:
    kind: str
    content: bytes

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


class Pages:
    """Raises OSError where our own files can't be read."""

    def __init__(self, bundle: Path = BUNDLE) -> None:
        self._files = _files(bundle)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def routes(self) -> list[Route]:
        return [Route("/console/{file}", self.file, methods=["GET"])]

    async def index(self, request: Request) -> Response:
        answer = self._answer(request, self._files["index.html"])
        answer.headers["vary"] = "accept"
        return answer

    async def file(self, request: Request) -> Response:
        found = self._files.get(request.path_params["file"])
        if found is None:
            raise HTTPException(404)
        return self._answer(request, found)

    def _answer(self, request: Request, file: _File) -> Response:
        headers = {
            "content-security-policy": _POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-cache",
            "etag": file.etag,
        }
        if file.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(file.content, headers={**headers, "content-type": file.kind})


def _files(bundle: Path) -> Mapping[str, _File]:
    found = {
        path.name: _File(_KINDS[path.suffix], read_file(path, _MOST_BYTES))
        for path in sorted(_STATIC.iterdir())
        if path.suffix in _KINDS
    }
    charts = _charts(bundle)
    page = found["index.html"].content.decode()
    page = page.replace("<!-- charts -->", _CHARTS if charts else "")
    return {**found, **charts, "index.html": _File(_KINDS[".html"], page.encode())}


def _charts(bundle: Path) -> dict[str, _File]:
    """All of it, or nothing."""
    try:
        return {
            name: _File(_KINDS[Path(name).suffix], read_file(bundle / name, _MOST_BYTES))
            for name in _OF_BUNDLE
        }
    except OSError:
        return {}


def wants_page(accept: str) -> bool:
    """Whether a header Accept asks for HTML, as browsers do: by name, and not with ``q=0``."""
    for one in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in one.split(";"))
        if kind == "text/html":
            return not any(re.fullmatch(r"q=0(\.0*)?", one) for one in parameters)
    return False
