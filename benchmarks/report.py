"""Rows of results, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Row:
    """One figure. ``met`` is ``None`` where there is no target or no figure."""

    item: int
    question: str
    figure: float | None
    unit: str = ""
    target: str = ""
    met: bool | None = None
    detail: str = ""


def at_least(
    item: int, question: str, figure: float, target: float, unit: str = "", detail: str = ""
) -> Row:
    return Row(item, question, figure, unit, f">= {target:g}", figure >= target, detail)


def at_most(
    item: int, question: str, figure: float, target: float, unit: str = "", detail: str = ""
) -> Row:
    return Row(item, question, figure, unit, f"<= {target:g}", figure <= target, detail)


_LEFT_OUT = "left out: "


def left_out(item: int, question: str, why: object) -> Row:
    """``why`` says also how to get what it needs."""
    return Row(item, question, None, detail=f"{_LEFT_OUT}{why}")


def spread(values: Sequence[float], digits: str = ",.0f") -> str:
    """The median and the range, for the last column."""
    ordered = sorted(values)
    middle = ordered[len(ordered) // 2]
    return f"{middle:{digits}} ({ordered[0]:{digits}}-{ordered[-1]:{digits}})"


def show(rows: Sequence[Row]) -> None:
    table = Table(title="benchmarks", show_lines=False)
    table.add_column("item", justify="right")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("target", justify="right")
    table.add_column("met")
    table.add_column("medians and ranges", overflow="fold")
    words = {True: "yes", False: "[bold red]no[/]", None: "-"}
    for row in rows:
        figure = "-" if row.figure is None else f"{row.figure:.3g} {row.unit}".strip()
        table.add_row(str(row.item), row.question, figure, row.target, words[row.met], row.detail)
    # Piped output keeps whole lines.
    Console(width=None if os.isatty(1) else 160).print(table)
    for line in missing(rows):
        print(line)


def missing(rows: Iterable[Row]) -> list[str]:
    """Lines that say which rows have no figure, and what would give them one."""
    without = [row for row in rows if row.detail.startswith(_LEFT_OUT)]
    if not without:
        return []
    lines = [f"Left out: {len(without)} of the rows above, each for want of something:"]
    return lines + [
        f"  {row.item}: {row.question}\n      {row.detail.removeprefix(_LEFT_OUT)}"
        for row in without
    ]


def save(rows: Sequence[Row], folder: Path) -> Path:
    """Write the rows with the machine and the versions; the path."""
    folder.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y-%m-%dT%H%M%SZ", time.gmtime())
    path = folder / f"{now}.json"
    packages = ("serving", "onnxruntime", "numpy", "grpcio", "fastapi", "uvicorn")
    content = {
        "when": now,
        "machine": {"cpus": os.cpu_count(), "cpu": _cpu_name(), "system": platform.platform()},
        "versions": {name: _version(name) for name in packages},
        "rows": [asdict(row) for row in rows],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(rows))
    return path


def markdown(rows: Iterable[Row]) -> str:
    """The table as the README keeps it."""
    lines = [
        "| item | what | figure | target | met | medians and ranges |",
        "|---|---|---|---|---|---|",
    ]
    words = {True: "yes", False: "**no**", None: ""}
    for row in rows:
        figure = "" if row.figure is None else f"{row.figure:.3g} {row.unit}".strip()
        cells = (str(row.item), row.question, figure, row.target, words[row.met], row.detail)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
