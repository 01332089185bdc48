"""Swagger UI for the page ``/docs``: out of the package that ``swagger-ui.txt`` pins, by its hash,
into ``serving/protocols/pages/bundle/``, from where the gateway and its wheel take it.

Without the package index there is a plain page instead: it is never an error.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PINNED = HERE / "swagger-ui.txt"
BUNDLE = HERE.parents[1] / "serving" / "protocols" / "pages" / "bundle"
# What was unpacked, so that it is done once.
MARK = "swagger-ui.txt"
INSIDE = "drf_spectacular_sidecar/static/drf_spectacular_sidecar/swagger-ui-dist/"
# In the package -> here.
FILES = {
    "swagger-ui-bundle.js": "swagger-ui-bundle.js",
    "swagger-ui.css": "swagger-ui.css",
    "LICENSE": "LICENSE.txt",
}
MOST_BYTES = 8 * 1024 * 1024
TIMEOUT_S = 60


def main() -> None:
    if is_there():
        return
    try:
        with tempfile.TemporaryDirectory() as folder:
            download(Path(folder))
            unpack(next(Path(folder).glob("*.whl")), BUNDLE)
    except (OSError, subprocess.SubprocessError, StopIteration, KeyError, ValueError) as error:
        why = str(getattr(error, "stderr", "") or error).strip().splitlines()
        print(f"   /docs will be a plain page: no Swagger UI ({(why or ['no package'])[-1]})")


def is_there() -> bool:
    try:
        return (BUNDLE / MARK).read_bytes() == PINNED.read_bytes()
    except OSError:
        return False


def download(folder: Path) -> None:
    """Raises what ``subprocess`` does."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
    command += ["--disable-pip-version-check", "--retries", "1", "--timeout", "10"]
    command += ["--no-deps", "--only-binary", ":all:", "--require-hashes"]
    subprocess.run(
        [*command, "--dest", str(folder), "--requirement", str(PINNED)],
        check=True,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def unpack(wheel: Path, bundle: Path) -> None:
    """The mark comes last. Raises KeyError for a file that is not in the wheel, ValueError for one
    that is too large."""
    shutil.rmtree(bundle, ignore_errors=True)
    bundle.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as archive:
        for name, here in FILES.items():
            entry = archive.getinfo(INSIDE + name)
            if entry.file_size > MOST_BYTES:
                raise ValueError(f"{name} has {entry.file_size} bytes")
            (bundle / here).write_bytes(archive.read(entry))
    shutil.copyfile(PINNED, bundle / MARK)


if __name__ == "__main__":
    main()
