"""Files beside a model that are links: what they lead to elsewhere is neither read nor told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.loading.enforced import Enforced, Terms
from serving.loading.inputs import logged_requests, sample_files
from serving.model_config import load_model_config
from serving.model_config.labels import read_labels
from serving.model_config.validation import ValidationConfig
from serving.observe.statistics import reference
from serving.registry import mlmodel
from serving.registry.manifest import MANIFEST_NAME, baseline_of, read_manifest
from serving.registry.mlmodel import Declared
from serving.settings import Settings
from serving.signature import Signature, Tensor
from serving.statistics.baseline import why_unusable

SECRET = "root:$6$salt$secret:19000:0:99999:7:::"
SIGNATURE = Signature((Tensor("x", "FP32", (-1, 4)),), ())


def enforced(folder: Path) -> str:
    given = ValidationConfig(mode="reject")
    terms = Terms("m", 1, SIGNATURE, Declared(), given, Settings())
    return " ".join(Enforced(terms, folder, folder.parent).notes)


def of_windows(folder: Path) -> str:
    faults: dict[str, str] = {}
    reference._schema(folder / "schema.pbtxt", "the schema", faults)
    return " ".join(faults.values())


def raising(read: Callable[[], Any]) -> str:
    try:
        return repr(read())
    except Exception as error:  # noqa: BLE001 - whose words are what is looked at
        return str(error)


READERS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "config.pbtxt": ("config.pbtxt", lambda folder: raising(lambda: load_model_config(folder))),
    "model.yaml": ("model.yaml", lambda folder: raising(lambda: load_model_config(folder))),
    "labels": ("labels.txt", lambda folder: raising(lambda: read_labels(folder, "labels.txt"))),
    "schema": ("schema.pbtxt", enforced),
    "schema of windows": ("schema.pbtxt", of_windows),
    "baseline": (
        "baseline.pb",
        lambda folder: why_unusable(folder, baseline_of(folder, None) or "baseline.pb"),
    ),
    "manifest": (MANIFEST_NAME, lambda folder: raising(lambda: read_manifest(folder))),
    "MLmodel": ("MLmodel", lambda folder: raising(lambda: mlmodel.read(folder))),
    "samples": (
        "s.json",
        lambda folder: raising(lambda: sample_files.read(folder, "s.json", SIGNATURE, 1 << 20)),
    ),
    "logged requests": (
        "assets.extra/tf_serving_warmup_requests",
        lambda folder: raising(
            lambda: logged_requests.read(folder, SIGNATURE, (), most_bytes=1 << 20, most_texts=9)
        ),
    ),
}


def lay(folder: Path, name: str, target: Path) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(target)


@pytest.mark.parametrize("who", READERS)
def test_a_link_out_of_the_folder_is_refused_by_that_word_and_nothing_of_it_is_told(
    who: str, tmp_path: Path
) -> None:
    name, read = READERS[who]
    (tmp_path / "shadow").write_text(SECRET)
    lay(tmp_path / "m" / "1", name, tmp_path / "shadow")
    words = read(tmp_path / "m" / "1")
    assert "is a link that leaves" in words
    assert "root" not in words
    assert "secret" not in words


@pytest.mark.parametrize("who", READERS)
def test_a_folder_that_leads_out_is_a_link_out(who: str, tmp_path: Path) -> None:
    name, read = READERS[who]
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "file").write_text(SECRET)
    folder = tmp_path / "m" / "1"
    lay(folder, "..data", tmp_path / "away")
    lay(folder, name, folder / "..data" / "file")
    assert "is a link that leaves" in read(folder)


@pytest.mark.parametrize("who", READERS)
def test_links_within_the_folder_are_followed_as_configmaps_lay_them(
    who: str, tmp_path: Path
) -> None:
    name, read = READERS[who]
    real = tmp_path / "real"
    (real / "..2026").mkdir(parents=True)
    (real / "..2026" / "file").write_text("\x00 nothing that any reader takes")
    lay(real, "..data", Path("..2026"))
    lay(real, name, Path("../" * name.count("/") + "..data/file"))
    # As where links are followed: the folder is one, too.
    (tmp_path / "m").symlink_to(real)
    words = read(tmp_path / "m")
    assert words
    assert "leaves" not in words
