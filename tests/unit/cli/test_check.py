"""``serving check``: which folder is meant, what is pinned, and each thing said once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from serving.cli.examine import examine
from serving.cli.version_folder import reader, told_apart
from serving.models.desired.kept import read_overrides, write_overrides
from serving.models.desired.kept_pins import kept_pins, pinned_state
from serving.models.desired.overrides import Documents, Overrides
from serving.registry_state import of_registry
from serving.settings import Settings
from serving.state_dir import StateDir
from tests import small_models
from tests.clients import forked

ROOT = Path(__file__).resolve().parents[3]


def lay(registry: Path, model: str, *versions: int) -> Path:
    registry.mkdir(exist_ok=True)
    for version in versions:
        small_models.write(registry, model, small_models.tiny(), version)
    return registry / model


def check(*arguments: object, status: int = 0) -> dict[str, Any]:
    done = forked.run("check", "--json", *arguments)
    assert done.returncode == status, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_versions_folder_is_that_version_of_its_model(tmp_path: Path) -> None:
    model = lay(tmp_path / "models", "m", 1, 2)
    assert told_apart([model / "2"], follow=False) == ([model], {model: {2}})
    assert told_apart([model / "2", model / "1"], follow=False) == ([model], {model: {1, 2}})
    assert told_apart([model / "2", model], follow=False) == ([model], {})
    assert told_apart([model, tmp_path], follow=False) == ([model, tmp_path], {})
    (model / "2").rename(model / "0002")
    assert told_apart([model / "0002"], follow=False) == ([model], {model: {2}})


def test_a_number_may_name_a_registry_or_a_model_as_well(tmp_path: Path) -> None:
    registry = tmp_path / "2024"
    numbered = lay(registry, "7", 1)
    assert told_apart([registry, numbered], follow=False) == ([registry, numbered], {})


def pin(state: Path, registry: Path, version: int) -> None:
    said = {"m": Overrides(pin=version, answered=1), "n": Overrides(answered=2)}
    documents = Documents(said, "poll")
    documents.change_all()
    write_overrides(of_registry(StateDir(state), [registry]), documents)


def test_pins_are_read_for_a_registry_and_a_folder_in_it_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    state, registry = tmp_path / "state", tmp_path / "models"
    assert kept_pins(state, [registry]) == kept_pins(None, [registry]) == {}
    assert not state.exists()
    pin(state, registry, 3)
    before = {path: path.stat().st_mtime_ns for path in state.rglob("*")}
    assert kept_pins(state, [registry]) == kept_pins(state, [registry / "m"]) == {"m": 3}
    assert kept_pins(state, [tmp_path / "others"]) == {}
    assert {path: path.stat().st_mtime_ns for path in state.rglob("*")} == before
    assert read_overrides(pinned_state({"m": 3}), "poll") == {"m": Overrides(pin=3)}


def test_check_answers_with_the_pinned_version_and_tells_a_wrong_configuration_once(
    tmp_path: Path,
) -> None:
    state, registry = tmp_path / "state", tmp_path / "models"
    lay(registry, "m", 1, 2)
    (lay(registry, "wrong", 1) / "model.yaml").write_text("instancs: 2\n")
    (registry / "half" / "1").mkdir(parents=True)
    pin(state, registry, 1)
    report = check(registry, "--state-dir", state, status=1)
    models = {model["name"]: model for model in report["models"]}
    assert (models["m"]["default"], models["m"]["pinned"]) == (1, 1)
    assert "version 2 is held back: the model is pinned to version 1" in models["m"]["reason"]
    assert [version["state"] for version in models["m"]["versions"]] == ["ready", "ready"]
    assert models["wrong"]["configuration"] == "wrong"
    half, wrong = report["problems"]
    assert half == "half 1: its directory is empty"
    assert wrong.startswith("wrong: configuration: model.yaml line 1: unknown key 'instancs'")


def test_a_version_is_loaded_by_its_models_configuration_whatever_the_policy(
    tmp_path: Path,
) -> None:
    model = lay(tmp_path / "models", "m", 1, 2)
    (model / "model.yaml").write_text("max_batch_size: 3\nversion_policy: {latest: 1}\n")
    config = reader({model: frozenset({1})})(model)
    assert (config.max_batch_size, config.version_policy.specific) == (3, (1,))
    assert reader({})(model).version_policy.kind == "latest"
    (found,) = examine(Settings(state_dir=None), [model / "1"], load=False)["models"]
    assert (found["name"], found["configuration"], found["only"]) == ("m", "model.yaml", [1])
    assert [version["version"] for version in found["versions"]] == [1]
