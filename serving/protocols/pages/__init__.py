"""The page that shows what can be asked of the HTTP port, and lets people try it: files for the
core to hold and to answer with (see ``Server.set_pages``).

With Swagger UI where the build has put it into ``bundle/`` (``deploy/pages/fetch.py``); without,
a plain page of our own.
"""

from __future__ import annotations

from pathlib import Path

from serving.user_files import read_file

Page = tuple[str, str, bytes]

_FOLDER = Path(__file__).parent
BUNDLE = _FOLDER / "bundle"
# Of one file.
_MOST_BYTES = 8 * 1024 * 1024
_HTML, _CSS = "text/html; charset=utf-8", "text/css; charset=utf-8"
_SCRIPT, _TEXT = "text/javascript; charset=utf-8", "text/plain; charset=utf-8"

_COMMON = {"choice.js": _SCRIPT, "docs.css": _CSS}
_OF_BUNDLE = {"swagger-ui-bundle.js": _SCRIPT, "swagger-ui.css": _CSS, "LICENSE.txt": _TEXT}


def pages(bundle: Path = BUNDLE) -> list[Page]:
    """Path, content type and content of each. Raises OSError where our own can't be read."""
    try:
        more = [_page(bundle, name, kind) for name, kind in _OF_BUNDLE.items()]
    except OSError:
        return [_docs("plain.html"), *_own({**_COMMON, "plain.js": _SCRIPT})]
    return [_docs("docs.html"), *_own({**_COMMON, "docs.js": _SCRIPT}), *more]


def _docs(name: str) -> Page:
    return ("/docs", _HTML, read_file(_FOLDER / name, _MOST_BYTES))


def _own(files: dict[str, str]) -> list[Page]:
    return [_page(_FOLDER, name, kind) for name, kind in files.items()]


def _page(folder: Path, name: str, kind: str) -> Page:
    return (f"/docs/{name}", kind, read_file(folder / name, _MOST_BYTES))
