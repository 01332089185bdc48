"""Where versions come from beyond this machine, as people read it."""

from __future__ import annotations

from collections.abc import Iterator

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile
from serving.cli.output import UserError, clean, print_json, print_line, print_table

PATH = "/api/v1/sources"
_MIB = 1024 * 1024


def sources(
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """Where versions come from beyond this machine, and whether that answers."""
    found = AdminPort(admin_url, token_file).get(PATH)
    if as_json:
        print_json(found)
        return
    rows = [
        (one["name"], one["target"], ", ".join(one["models"]), one["error"] or "answers")
        for one in found["sources"]
    ]
    print_table(("SOURCE", "WHERE", "MODELS", "STATE"), rows)
    if (cache := found["cache"]) is not None:
        held, most = (f"{cache[key] / _MIB:.1f} MiB" for key in ("bytes", "most_bytes"))
        print_line(f"{held} of {most} are kept here")


def trouble_lines(port: AdminPort) -> Iterator[str]:
    """One for each source that can't be asked now; none of a gateway that knows no sources."""
    try:
        found = port.get(PATH)
    except UserError:
        return
    for one in found["sources"]:
        if one["error"]:
            yield clean(f"{one['name']} {one['target']} {one['error']}")
