"""``serving track``: what a running gateway sends where, and how that goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from serving.cli import options
from serving.cli.control import DEFAULT_URL, AdminPort, AdminUrl, TokenFile
from serving.cli.output import UserError, print_json, print_line, print_table
from serving.cli.status import when

_MOST_PROMOTIONS = 20
_HEADERS = ("TARGET", "ADDRESS", "SENT", "WAITING", "DROPPED", "FAILURES", "LAST SUCCESS")


def track(
    admin_url: AdminUrl = DEFAULT_URL,
    token_file: TokenFile = None,
    as_json: options.Json = False,
) -> None:
    """What a running gateway sends where: windows and spans sent and dropped, what it writes to
    MLflow's registry, the last error."""
    answer = AdminPort(admin_url, token_file).get("/api/v1/tracking")
    targets, traces = answer.get("targets"), answer.get("traces")
    if not isinstance(targets, list):
        raise UserError(f"{admin_url}: it tells nothing of tracking")
    if as_json:
        print_json(answer)
        return
    if targets:
        print_table(_HEADERS, [_row(one) for one in targets])
        print_line(f"a window covers {answer['window_s']:g} s")
        for one in filter(_has_failed, targets):
            print_line(_error_line(one))
    else:
        print_line("no window is sent: set tracking.mlflow.uri, .jsonl.path or .otlp.endpoint")
    print_line(_trace_line(traces) if traces else "no span is sent: set tracing.endpoint")
    if (back := answer.get("write_back")) is not None:
        for line in _write_back_lines(back):
            print_line(_printable(line))


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    success = when(one["last_success"]) if one["last_success"] is not None else None
    counts = (one["sent"], one["buffered"], one["dropped"], one["failures"])
    return (one["name"], one["target"], *counts, success)


def _has_failed(one: dict[str, Any]) -> bool:
    return one["last_failure"] is not None


def _error_line(one: dict[str, Any]) -> str:
    state = "failing" if one["error"] else "works again"
    return _printable(
        f"{one['name']}: {state}; last error at {when(one['last_failure'])}: {one['last_error']}"
    )


def _trace_line(one: dict[str, Any]) -> str:
    success = when(one["last_success"]) if one["last_success"] is not None else "never"
    line = (
        f"traces to {one['target']}: {one['exported']} spans sent, {one['dropped']} dropped,"
        f" last success {success}"
    )
    return _printable(f"{line}; failing: {one['error']}" if one["error"] else line)


def _write_back_lines(back: dict[str, Any]) -> Iterator[str]:
    what = [f"alias {back['alias']}"] if back["alias"] else []
    what += [f"{key}={value}" for key, value in back["tags"].items()]
    what += ["verdicts"] if back["verdicts"] else []
    line = f"written back to {back['target']}: {', '.join(what)}; {_outcomes(back['outcomes'])}"
    line += f", {back['waiting']} waiting"
    yield f"{line}; failing: {back['error']}" if back["error"] else line
    if back["note"]:
        yield f"  {back['note']}"
    told = [one for one in back["promotions"] if one["waits"] or one["said"]]
    for one in told[:_MOST_PROMOTIONS]:
        state = "is to be written" if one["waits"] else one["said"]
        kind = "promoted" if one["stands"] else "taken back"
        yield f"  {one['model']}, version {one['version']} {kind}: {state}"
    if (more := len(told) - _MOST_PROMOTIONS) > 0:
        yield f"  and {more} more (--json)"


def _outcomes(outcomes: dict[str, dict[str, int]]) -> str:
    totals: dict[str, int] = {}
    for counts in outcomes.values():
        for outcome, count in counts.items():
            totals[outcome] = totals.get(outcome, 0) + count
    told = [f"{n} {one.replace('_', ' ')}" for one, n in totals.items() if n or one == "written"]
    return ", ".join(told)


def _printable(line: str) -> str:
    return line if line.isprintable() else line.encode("unicode_escape").decode("ascii")
