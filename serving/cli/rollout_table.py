"""Rollouts as people read them: a line each, one in full, or a table that goes on changing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from serving.cli import durations
from serving.cli.output import cell, clean, print_line

HEADERS = ("MODEL", "VERSION", "PHASE", "SHARE", "STEP", "ANSWERED", "ERRORS", "PROOF", "WHY")
_BETWEEN_S = 1.0

Rollout = dict[str, Any]


def row_of(one: Rollout) -> tuple[object, ...]:
    canary = one["canary"]
    return (
        one["model"],
        f"{one['version']} for {one['base']}",
        one["phase"],
        f"{one['share']} %",
        f"{one['step']} of {len(one['steps'])}",
        canary["requests"],
        sum(canary["errors"].values()),
        f"{one['proof']:.0%}",
        one["reason"],
    )


def lines_of(one: Rollout, now: float) -> Iterator[str]:
    """``now``: seconds since the epoch."""
    since = durations.words(max(0.0, now - one["changed"]))
    yield f"{one['model']}: version {one['version']} in place of version {one['base']}"
    yield f"  {one['phase']} for {since}: {one['reason']}"
    steps = ", ".join(str(share) for share in one["steps"])
    every = durations.words(one["every"])
    yield (
        f"  steps of {steps} %, each {every} and {one['min_requests']} answers at least; in step"
        f" {one['step']}, {one['share']} %"
    )
    if one["sticky"]:
        yield f"  a client keeps its version by {one['sticky']}"
    yield f"  version {one['version']}: {_answers(one['canary'])}"
    yield f"  version {one['base']}: {_answers(one['base_answers'])}"
    for name, drift in sorted(one["drift"].items()):
        yield f"  {name}: {_drift(drift)}"
    yield f"  proof that it is sound: {one['proof']:.0%}"


def _answers(answers: dict[str, Any]) -> str:
    errors = ", ".join(f"{count} {kind}" for kind, count in sorted(answers["errors"].items()))
    bad = answers["nonfinite"]
    nan = f", {bad} of {answers['inspected']} with NaN or infinity" if bad else ""
    return f"{answers['requests']} answers, {errors or 'no errors'}{nan}"


def _drift(drift: dict[str, Any]) -> str:
    if drift["apart"] is None:
        return f"too few to compare: {drift['answers']} of {drift['needed']} answers of each"
    feature = f"{clean(drift['feature'])} is " if drift.get("feature") else ""
    return (
        f"{feature}{drift['apart']:.3f} apart, of which {drift['chance']:.3f} may be chance;"
        f" {drift['allowed']:g} is allowed"
    )


def watch(
    ask: Callable[[], Sequence[Rollout]],
    goes_on: Callable[[Sequence[Rollout]], bool],
    sleep: Callable[[float], None],
) -> None:
    """Show what ``ask`` says until nothing ``goes_on``: in place on a terminal, else a line for
    each change."""
    if sys.stdout.isatty():
        _watch_live(ask, goes_on, sleep)
        return
    told: dict[str, str] = {}
    while True:
        rollouts = ask()
        for one in rollouts:
            place = f"{one['phase']}, {one['share']} %"
            if told.get(one["model"]) != place:
                told[one["model"]] = place
                print_line(clean(f"{one['model']} {one['version']}: {place}: {one['reason']}"))
        if not goes_on(rollouts):
            return
        sleep(_BETWEEN_S)


def _watch_live(
    ask: Callable[[], Sequence[Rollout]],
    goes_on: Callable[[Sequence[Rollout]], bool],
    sleep: Callable[[float], None],
) -> None:
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    def table(rollouts: Sequence[Rollout]) -> Table:
        made = Table(box=None, header_style="bold", pad_edge=False)
        for header in HEADERS:
            made.add_column(header, overflow="fold")
        for one in rollouts:
            made.add_row(*(Text(cell(value)) for value in row_of(one)))
        return made

    rollouts = ask()
    with Live(table(rollouts), auto_refresh=False) as live:
        while goes_on(rollouts):
            sleep(_BETWEEN_S)
            rollouts = ask()
            live.update(table(rollouts), refresh=True)
