"""The models of a list as a source says them, and a list that changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.errors import ConfigError
from serving.model_config import ModelConfig, RequestLogConfig
from serving.model_config.schema import VersionPolicy
from serving.registry.configs import Configs
from serving.registry.look import ModelLook
from serving.registry.model_list.entries import Entry, ModelList
from serving.registry.model_list.source import ListTerms, ModelListFile, ModelListSource
from serving.registry.snapshot import IN_TWO_SOURCES, FoundModel, KnownConfig, Listed, Snapshot
from serving.registry.sources import joined
from serving.settings.registry import RegistrySettings

ONNX = Listed("onnx")


class World:
    """Base paths in ``folder``, and a list over them that is read from a file."""

    def __init__(self, folder: Path, poll_s: float = 1.0) -> None:
        self.folder, self.file, self.now = folder, folder / "models.config", 1000.0
        self.poll_s = poll_s

    def write(self, model: str, version: str) -> None:
        (self.folder / model / version).mkdir(parents=True)
        (self.folder / model / version / "model.onnx").write_text("weights")

    def list(self, *names: str, more: str = "", platform: str = "onnx") -> None:
        configs = (
            f"config {{ name: 'as-{name}' base_path: '{self.folder / name}'"
            f" model_platform: '{platform}' {more} }}"
            for name in names
        )
        self.file.write_text(f"model_config_list {{ {' '.join(configs)} }}")

    def source(self) -> ModelListSource:
        settings = RegistrySettings(settle_s=0.0)
        terms = ListTerms(settings, self.poll_s, lambda: self.now, lambda: self.now)
        return ModelListSource(ModelListFile(self.file), terms)

    def later(self) -> None:
        self.now += self.poll_s or 100.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    one = World(tmp_path)
    one.write("a", "00000123")
    one.write("a", "7")
    one.write("b", "1")
    one.list("a")
    return one


def names(snapshot: Snapshot) -> list[str]:
    return [found.name for found in snapshot.models]


def test_models_have_the_lists_names_and_versions_may_have_zeros(world: World) -> None:
    (found,) = world.source().scan().models
    assert (found.name, found.listed) == ("as-a", ONNX)
    assert [version.number for version in found.versions] == [7, 123]
    assert all(version.whole for version in found.versions)


def test_a_scan_without_news_is_the_same_object(world: World) -> None:
    source = world.source()
    assert source.scan() is source.scan()


def test_a_changed_file_is_followed_and_what_it_leaves_out_is_withdrawn(world: World) -> None:
    source = world.source()
    source.scan()
    world.list("b")
    assert names(source.scan()) == ["as-a"], "its time has not come"
    world.later()
    changed = source.scan()
    assert (names(changed), changed.withdrawn) == (["as-b"], {"as-a"})
    world.list("a", "b")
    world.later()
    assert source.scan().withdrawn == frozenset()


def test_a_file_that_is_wrong_leaves_the_list_as_it_was_and_is_told_of(world: World) -> None:
    source = world.source()
    for text in ("model_config_list {", "", "model_config_list { config {} }"):
        world.file.write_text(text)
        world.later()
        snapshot = source.scan()
        assert names(snapshot) == ["as-a"]
        (told,) = snapshot.ignored
        assert told.reason.startswith("the model config list stays as it was: ")
    world.file.unlink()
    world.later()
    assert names(source.scan()) == ["as-a"]
    world.list("a", "b")
    world.later()
    snapshot = source.scan()
    assert (names(snapshot), snapshot.ignored) == (["as-a", "as-b"], ())


def test_without_a_poll_the_file_is_read_when_told(tmp_path: Path) -> None:
    world = World(tmp_path, poll_s=0.0)
    world.list("a")
    source = world.source()
    world.list("b")
    world.later()
    assert names(source.scan()) == ["as-a"]
    source.reread()
    assert names(source.scan()) == ["as-b"]


def test_a_call_replaces_the_list_until_the_file_changes(world: World) -> None:
    source = world.source()
    source.replace(ModelList({"x": Entry("x", str(world.folder / "b"), ONNX)}), "somebody")
    world.later()
    assert names(source.scan()) == ["x"]
    os.utime(world.file, (1, 1))
    world.later()
    assert names(source.scan()) == ["as-a"]


def test_a_look_asked_for_goes_through_what_it_asks_about_and_keeps_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.list("a", "b", "nowhere")
    source = world.source()
    for _ in range(4):
        source.scan(whole=False)
        world.now += 0.2
    before = source.scan(whole=False)
    looked = []
    look = ModelLook.found

    def found(self: ModelLook) -> FoundModel:
        looked.append(self.place.name)
        return look(self)

    monkeypatch.setattr(ModelLook, "found", found)
    world.write("b", "2")
    after = source.scan(["as-b"], ["as-b"], whole=False)
    assert looked == ["as-b"]
    assert [version.number for version in after.models[1].versions] == [1, 2]
    assert [one is other for one, other in zip(before.models, after.models, strict=True)] == [
        True,
        False,
        True,
    ]
    world.write("a", "8")
    assert source.scan(whole=False) is after
    world.now += 1.0
    (a, *_) = source.scan(whole=False).models
    assert [version.number for version in a.versions] == [7, 8, 123], "nothing reports it"


def test_a_base_path_that_leads_elsewhere_is_seen_by_the_look_that_is_asked_for(
    world: World,
) -> None:
    (world.folder / "link").symlink_to(world.folder / "a")
    world.list("link", "b")
    source = world.source()
    for _ in range(4):
        source.scan(whole=False)
        world.now += 0.2
    (world.folder / "link").unlink()
    (world.folder / "link").symlink_to(world.folder / "b")
    found = source.scan(["as-link"], ["as-link"], whole=False).models
    assert [version.number for version in found[1].versions] == [1]


def test_what_has_no_effect_is_told_of_once_and_of_few(world: World) -> None:
    def notes(number: int) -> ModelList:
        return ModelList(notes=tuple(f"note {one}" for one in range(number)))

    source = world.source()
    with capture_logs() as lines:
        source.replace(notes(50), "somebody")
        source.replace(notes(51), "somebody")
    told = [one for one in lines if one["event"] == "model_config_list_without_effect"]
    assert [one["reason"] for one in told] == [
        *(f"note {one}" for one in range(20)),
        "and 30 more such",
        "note 50",
    ]


def test_a_model_keeps_its_platform(world: World) -> None:
    source = world.source()
    world.list("a", "b", platform="tensorflow")
    world.later()
    snapshot = source.scan()
    assert names(snapshot) == ["as-a"]
    assert "can't change from 'onnx' to 'tensorflow'" in snapshot.ignored[0].reason
    other = ModelList({"as-a": Entry("as-a", "/x", Listed("tensorflow"))})
    with pytest.raises(ConfigError, match="model 'as-a': its model_platform can't change"):
        source.replace(other, "somebody")


def test_a_base_path_that_is_not_there_is_an_error_of_its_model_alone(world: World) -> None:
    world.list("a", "nowhere")
    found = world.source().scan().models
    assert [(one.name, one.error) for one in found] == [
        ("as-a", ""),
        ("as-nowhere", "its directory does not exist"),
    ]
    (world.folder / "empty").mkdir()
    world.list("empty")
    (empty,) = world.source().scan().models
    assert (empty.error, empty.versions) == ("", ())


def test_what_a_base_path_holds_besides_versions_makes_it_no_folder_of_models(
    world: World,
) -> None:
    (world.folder / "a" / "other" / "1").mkdir(parents=True)
    (world.folder / "a" / "other" / "1" / "model.onnx").write_text("weights")
    (found,) = world.source().scan().models
    assert [version.number for version in found.versions] == [7, 123]


def test_a_model_that_a_directory_has_too_is_the_lists() -> None:
    listed = FoundModel("m", Path("/1/m"), listed=ONNX)
    plain = FoundModel("m", Path("/2/m"))
    for parts in ((listed, plain), (plain, listed)):
        both = joined([Snapshot((one,)) for one in parts])
        assert both.models == (listed,)
    twice = joined([Snapshot((plain,)), Snapshot((plain,))])
    assert twice.models[0].error == IN_TWO_SOURCES


def test_the_lists_policy_and_rate_go_before_the_configurations(tmp_path: Path) -> None:
    own = ModelConfig(
        version_policy=VersionPolicy("all"), request_log=RequestLogConfig(0.1, ("x",)), instances=2
    )
    configs = Configs(lambda folder: own)

    def known(listed: Listed | None) -> KnownConfig:
        found = FoundModel("m", tmp_path, config_stamp="1", listed=listed)
        (model,) = configs.read_into(Snapshot((found,))).models
        assert model.config is not None
        return model.config

    two = VersionPolicy("latest", 2)
    assert known(Listed("onnx", two, rate=0.5)).policy == two
    amended = known(Listed("onnx", two, rate=0.5)).config
    assert amended is not None
    assert (amended.version_policy, amended.request_log) == (two, RequestLogConfig(0.5, ("x",)))
    # What the list says no more is the configuration's own again, which nobody has to read anew.
    assert known(Listed("onnx")).config == own
    assert known(None).policy == VersionPolicy("all")
