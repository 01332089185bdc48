"""axe-core, which finds what a page is missing for people who can't see or point: npm's package of
a version, by its hash, kept in ``.cache/``."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tests.clients.browser import Browser

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "axe-core@4.10.3"
SHA512 = "Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg=="
KEPT = ROOT / ".cache" / f"{PACKAGE}.js"


def source() -> str | None:
    """The script, to be run in a page; None where npm is not installed or its registry is out of
    reach. Raises ValueError for a package of another hash."""
    if not KEPT.exists():
        with tempfile.TemporaryDirectory() as folder:
            archive = _download(Path(folder))
            if archive is None:
                return None
            _keep(archive)
    return KEPT.read_text()


def serious(browser: Browser, script: str) -> list[tuple[str, object]]:
    """What it finds serious or worse on the page that is shown, in light and in dark."""
    found = []
    try:
        for scheme in ("light", "dark"):
            _prefer(browser, [{"name": "prefers-color-scheme", "value": scheme}])
            browser.script(script)
            violations = browser.driver.execute_async_script(
                "const done = arguments[0];"
                "axe.run().then((found) => done(found.violations.map((one) =>"
                " [one.impact, one.id, one.nodes.map((node) => node.html).slice(0, 3)])))"
            )
            found += [(scheme, one) for one in violations if one[0] in ("serious", "critical")]
    finally:
        _prefer(browser, [])
    return found


def _prefer(browser: Browser, features: list[dict[str, str]]) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def _download(folder: Path) -> Path | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    command = [npm, "pack", "--silent", "--ignore-scripts", "--fetch-retries", "1", PACKAGE]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False)
    return next(folder.glob("*.tgz"), None) if done.returncode == 0 else None


def _keep(archive: Path) -> None:
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        raise ValueError(f"{PACKAGE} has another hash than is pinned: {digest}")
    with tarfile.open(archive) as opened:
        content = opened.extractfile("package/axe.min.js")
        assert content is not None
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_bytes(content.read())
