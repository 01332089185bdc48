"""The versions of Python packages that CI installs, ``.ci/constraints.txt``: so that a release of
one of them can't break a change that has nothing to do with it.

``python -m tests.package.constraints`` (``make lock``) writes the newest that fit together, by
the resolver of this environment's pip; what it brings shows in the change that takes it up.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
FILE = ROOT / ".ci" / "constraints.txt"
EXTRAS = ("cpu", "client", "dev")
CLIENT = "serving-client"
HEAD = f"""\
# What CI installs, of what pyproject.toml allows. Written by `make lock`, with Python {{}}.{{}}.
# Its extras: {", ".join(EXTRAS)}; and what builds the core.
"""


def needed() -> list[Requirement]:
    """What pyproject.toml asks for, for all that CI runs; and what our own client, which lies here,
    asks for."""
    asked = (*_asked(ROOT, EXTRAS), *_asked(ROOT / "client"))
    return [one for one in asked if one.name != CLIENT]


def _asked(folder: Path, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    document = tomllib.loads((folder / "pyproject.toml").read_text())
    project = document["project"]
    more = (one for extra in extras for one in project["optional-dependencies"][extra])
    asked = (*document["build-system"]["requires"], *project["dependencies"], *more)
    yield from map(Requirement, asked)


def pins(lines: Iterable[str]) -> dict[str, str]:
    """Versions by name. Raises ValueError for a line that is more than a name and a version."""
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith("#"):
            continue
        name, _, version = line.strip().partition("==")
        if str(Requirement(f"{name}=={version}")) != line.strip():
            raise ValueError(f"not a name and a version: {line!r}")
        found[canonicalize_name(name)] = version
    return found


def faults(requirements: Iterable[Requirement], pinned: Mapping[str, str]) -> Iterator[str]:
    """Where the pins do not fit what is asked for, in words."""
    for one in requirements:
        version = pinned.get(canonicalize_name(one.name))
        if version is None:
            yield f"{one.name}: it has no version"
        elif not one.specifier.contains(version):
            yield f"{one.name}: {version} is not {one.specifier}"


def resolved(requirements: Iterable[Requirement]) -> dict[str, str]:
    """The newest versions that fit together, whatever is installed here."""
    command = ["-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    done = subprocess.run(
        [sys.executable, *command, "--report", "-", *map(str, requirements)],
        check=True,
        stdout=subprocess.PIPE,
    )
    packages = (one["metadata"] for one in json.loads(done.stdout)["install"])
    return {canonicalize_name(one["name"]): one["version"] for one in packages}


def main() -> None:
    found = resolved(needed())
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    FILE.write_text(HEAD.format(*sys.version_info[:2]) + "".join(lines))
    sys.stdout.write(f"{len(lines)} packages in {FILE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
