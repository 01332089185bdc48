"""Hold what the core is built of against ``core/deny.toml``: licences, sources, and crates that
are there twice. Cargo says what there is, from its lock file and without the network.

Run by ``make check``: ``python -m tests.package.dependencies``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CORE = Path(__file__).parents[2] / "core"
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"

Package = dict[str, Any]


def permits(expression: str, allowed: Sequence[str]) -> bool:
    """Whether a licence, as SPDX writes it, can be chosen so that all it asks for is allowed.
    ``/`` is an ``OR``, as crates used to write it.

    Raises ValueError for what is no such expression."""
    words = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))
    verdict = _either(words, set(allowed))
    if words:
        raise ValueError(f"no licence expression: {expression!r}")
    return verdict


def _either(words: list[str], allowed: set[str]) -> bool:
    verdict = _both(words, allowed)
    while words[:1] == ["OR"]:
        del words[0]
        verdict |= _both(words, allowed)
    return verdict


def _both(words: list[str], allowed: set[str]) -> bool:
    verdict = _one(words, allowed)
    while words[:1] == ["AND"]:
        del words[0]
        verdict &= _one(words, allowed)
    return verdict


def _one(words: list[str], allowed: set[str]) -> bool:
    if not words or words[0] in {"OR", "AND", "WITH", ")"}:
        raise ValueError(f"a licence was expected before {words[:1]}")
    if words[0] != "(":
        length = 3 if words[1:2] == ["WITH"] else 1
        name = " ".join(words[:length])
        del words[:length]
        return name in allowed
    del words[0]
    verdict = _either(words, allowed)
    if words[:1] != [")"]:
        raise ValueError("a parenthesis is open")
    del words[0]
    return verdict


def faults(packages: Sequence[Package], rules: dict[str, Any]) -> Iterator[str]:
    """What the rules refuse, in words."""
    allowed = rules["licenses"]["allow"]
    for package in packages:
        name = f"{package['name']} {package['version']}"
        licence = package["license"]
        if not licence or not permits(licence, allowed):
            yield f"{name}: its licence is {licence or 'not named'}, which is not allowed"
        if package["source"] not in {None, CRATES_IO}:
            yield f"{name}: it comes from {package['source']}, not from crates.io"
    yield from _twice(packages, [skip["crate"] for skip in rules["bans"]["skip"]])


def _twice(packages: Sequence[Package], skipped: Sequence[str]) -> Iterator[str]:
    versions: dict[str, list[str]] = defaultdict(list)
    needed = set()
    for package in packages:
        major = f"{package['name']}@{package['version'].partition('.')[0]}"
        if major in skipped:
            needed.add(major)
        else:
            versions[package["name"]].append(package["version"])
    for name, found in versions.items():
        if len(found) > 1:
            yield f"{name}: there are {len(found)} versions of it, {', '.join(sorted(found))}"
    for major in sorted(set(skipped) - needed):
        yield f"{major}: the skip is no longer needed, for there is no such crate"


def built_of() -> list[Package]:
    """The crates for this platform, those for tests among them."""
    host = re.search(r"^host: (\S+)$", _run("rustc", "-vV"), re.MULTILINE)
    assert host is not None, "rustc doesn't say for which platform it compiles"
    said = _run(
        *("cargo", "metadata", "--locked", "--offline", "--format-version", "1"),
        *("--filter-platform", host[1]),
    )
    packages: list[Package] = json.loads(said)["packages"]
    return packages


def _run(*command: str) -> str:
    return subprocess.run(command, cwd=CORE, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    rules = tomllib.loads((CORE / "deny.toml").read_text())
    packages = built_of()
    found = list(faults(packages, rules))
    if found:
        sys.exit("core/deny.toml refuses:\n  " + "\n  ".join(found))
    sys.stdout.write(f"{len(packages)} crates are as core/deny.toml wants them\n")


if __name__ == "__main__":
    main()
