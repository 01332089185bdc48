"""uPlot for the console: out of the npm package that ``uplot.txt`` pins, by its hash, into
``serving/control/console/bundle/``, from where the gateway and its wheel take it.

No package of Python's index ships it as it is, with its licence, so npm brings it. Without npm, or
without its registry, the console shows tables instead: it is never an error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINNED = HERE / "uplot.txt"
BUNDLE = HERE.parents[1] / "serving" / "control" / "console" / "bundle"
# What was unpacked, so that it is done once.
MARK = "uplot.txt"
# In the package -> here.
FILES = {
    "package/dist/uPlot.iife.min.js": "uPlot.iife.min.js",
    "package/dist/uPlot.min.css": "uPlot.min.css",
    "package/LICENSE": "LICENSE.txt",
}
MOST_BYTES = 1024 * 1024
TIMEOUT_S = 60


def main() -> None:
    if is_there():
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            unpack(download(Path(folder), *pinned()), BUNDLE)
    except (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError) as error:
        why = str(getattr(error, "stderr", "") or error).strip().splitlines()
        print(f"   the console will show tables: no chart library ({(why or ['no package'])[-1]})")


def is_there() -> bool:
    try:
        return (BUNDLE / MARK).read_bytes() == PINNED.read_bytes()
    except OSError:
        return False


def pinned() -> tuple[str, str]:
    """The package with its version, and its hash as npm writes it."""
    line = next(one for one in PINNED.read_text().splitlines() if not one.startswith("#"))
    package, _, integrity = line.partition(" ")
    return package, integrity


def download(folder: Path, package: str, integrity: str) -> Path:
    """The package's archive. Raises what ``subprocess`` does, ValueError for another hash."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError("npm is not installed")
    command = [npm, "pack", "--silent", "--ignore-scripts", "--fetch-retries", "1", package]
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, cwd=folder
    )
    (archive,) = folder.glob("*.tgz")
    digest = hashlib.sha512(archive.read_bytes()).digest()
    if not hmac.compare_digest(f"sha512-{base64.b64encode(digest).decode()}", integrity):
        raise ValueError(f"{package} has another hash than is pinned")
    return archive


def unpack(archive: Path, bundle: Path) -> None:
    """The mark comes last. Raises KeyError for a file that is not in the archive, ValueError for
    one that is too large or no file."""
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir(parents=True)
    with tarfile.open(archive) as opened:
        for name, here in FILES.items():
            entry = opened.getmember(name)
            content = opened.extractfile(entry)
            if entry.size > MOST_BYTES or content is None:
                raise ValueError(f"{name} has {entry.size} bytes, or is no file")
            (bundle / here).write_bytes(content.read())
    shutil.copyfile(PINNED, bundle / MARK)


if __name__ == "__main__":
    main()
