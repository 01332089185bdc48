"""Models in an object store, by ``file://``: the same code that asks S3, without a network."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import serving
from serving.errors import ConfigError, LoadError
from serving.registry.copying import PublishError
from serving.registry.object_store.address import checked, is_address, name_of
from serving.registry.object_store.kept import KeptStore
from serving.registry.object_store.look import StoreLook, Terms
from serving.registry.object_store.publishing import CLAIM, StoreTarget
from serving.registry.object_store.store import DeniedError, Store, StoredFile, StoreError
from serving.registry.remote.cache import Cache
from serving.registry.remote.polled import Looked
from serving.registry.snapshot import FoundModel
from serving.state_dir import StateDir
from tests.small_models import scale, write


@dataclass
class World:
    """``asked``: the prefixes of levels, and of everything below, that were listed."""

    root: Path
    home: Path
    now: float = 1000.0
    ahead: float = 2e9
    asked: list[str] = field(default_factory=list)
    down: bool = False
    denied: str = "\0"

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.cache = Cache(self.home / "versions", 10**9)
        self.state = StateDir(self.home / "state")
        self.open()

    @property
    def url(self) -> str:
        return f"file://{self.root}"

    def open(self) -> None:
        world = self

        class Watched(Store):
            def level(self, prefix: str) -> Any:
                world.asked.append(prefix)
                if world.down:
                    raise StoreError("it is down")
                if prefix == world.denied:
                    raise DeniedError("access is denied")
                return super().level(prefix)

            def below(self, prefix: str, most: int = 10_000) -> list[StoredFile]:
                world.asked.append(f"{prefix}*")
                return super().below(prefix, most)

        terms = Terms(10.0, 3.0, lambda: self.now, lambda: self.now + self.ahead)
        kept = KeptStore(self.state, self.url)
        self.look = StoreLook(self.url, Watched(self.url, 5.0), self.cache, kept, terms)

    def looked(self, *at_once: str) -> Looked:
        self.asked.clear()
        return self.look(set(at_once))

    def models(self, *at_once: str) -> dict[str, FoundModel]:
        return {one.name: one for one in self.looked(*at_once).snapshot.models}

    def publish(self, factor: float, model: str = "m", **more: Any) -> int:
        file = self.home / "model.onnx"
        file.write_bytes(scale(factor).SerializeToString())
        return serving.publish(file, self.url, model, **more).version


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "home").mkdir()
    return World(tmp_path / "store", tmp_path / "home")


def numbers(found: FoundModel) -> dict[int, bool]:
    return {one.number: one.whole for one in found.versions}


def test_a_published_version_is_whole_at_once_and_comes_by_its_manifest(world: World) -> None:
    assert [world.publish(1), world.publish(2)] == [1, 2]
    found = world.models()["m"]
    assert numbers(found) == {1: True, 2: True}
    fetched = found.versions[1].origin.fetch()
    assert (fetched.version / "model.onnx").read_bytes() == scale(2).SerializeToString()
    assert found.versions[1].origin.manifest is not None
    assert not (fetched.version / CLAIM).exists()
    with pytest.raises(PublishError, match="version 2 exists already"):
        world.publish(3, version=2)
    assert world.publish(3, version=7) == 7
    assert world.publish(4) == 8


def test_a_model_that_may_not_be_seen_keeps_no_other_back(world: World) -> None:
    world.publish(1)
    world.publish(1, "other")
    before = world.models()["m"]
    world.denied = "m/"
    world.publish(2, "other")
    looked = world.looked()
    assert not world.look.error
    found = {one.name: one for one in looked.snapshot.models}
    assert numbers(found["other"]) == {1: True, 2: True}
    assert found["m"] == before
    assert [one.reason for one in looked.snapshot.ignored] == ["it can't be seen: access is denied"]


def test_a_model_that_may_not_be_seen_since_the_start_has_the_copy_that_was_kept(
    world: World,
) -> None:
    world.publish(1)
    world.publish(1, "other")
    world.models()["m"].versions[0].origin.fetch()
    world.denied = "m/"
    for _ in range(2):  # nor is it forgotten by then
        world.open()
        found = world.models()
        assert numbers(found["m"]) == {1: True}
        assert numbers(found["other"]) == {1: True}
        found["m"].versions[0].origin.fetch()


def test_what_is_wrong_with_a_version_in_the_store_fails_it_in_words(world: World) -> None:
    world.publish(1)
    file = world.root / "m" / "1" / "model.onnx"
    version = world.models()["m"].versions[0]
    # As long as before, so that nothing of it shows.
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(LoadError, match="not what it was when it was found"):
        version.origin.fetch()
    version = world.models("m")["m"].versions[0]
    with pytest.raises(LoadError, match="its SHA-256 is another one"):
        version.origin.fetch()
    file.write_bytes(b"short")
    short = world.models("m")["m"].versions[0]
    assert (short.whole, short.why_not) == (
        False,
        "model.onnx has 5 bytes, and its manifest lists 100",
    )


def test_half_of_an_upload_is_never_whole(world: World) -> None:
    assert StoreTarget(world.url, "m")._claim(None) == 1
    (world.root / "m" / "1" / "model.onnx").write_bytes(b"half")
    for _ in range(3):
        world.now += 60.0
        (version,) = world.models()["m"].versions
        assert (version.whole, version.why_not) == (False, "it is being published")
    # Who comes meanwhile gets another one.
    assert world.publish(1) == 2
    assert numbers(world.models()["m"]) == {1: False, 2: True}


def test_without_a_manifest_a_version_settles_first_or_when_told(world: World) -> None:
    world.ahead = 0.0  # what is there now changed just now
    write(world.root, "m", scale(1))
    looked = world.looked()
    (found,) = looked.snapshot.models
    assert (numbers(found), found.versions[0].settling) == ({1: False}, True)
    assert looked.next_s <= 3.0
    assert numbers(world.models("m")["m"]) == {1: True}
    write(world.root, "n", scale(1))
    assert numbers(world.models()["n"]) == {1: False}
    world.now += 3.1
    assert numbers(world.models()["n"]) == {1: True}


def test_layouts_are_those_of_a_directory(world: World, tmp_path: Path) -> None:
    write(world.root, "a", scale(1))
    (world.root / "b").mkdir()
    shutil.copy(world.root / "a" / "1" / "model.onnx", world.root / "b")
    (world.root / "b" / "model.yaml").write_text("max_batch_size: 4\n")
    (world.root / "a" / "007").mkdir()
    (world.root / "a" / "007" / "model.onnx").write_bytes(b"x")
    (world.root / ".hidden").mkdir()
    (world.root / "logs").mkdir()
    (world.root / "logs" / "x.txt").write_text("x")
    found = world.models()
    assert sorted(found) == ["a", "b"]
    assert numbers(found["a"]) == numbers(found["b"]) == {1: True}
    assert (found["b"].path / "model.yaml").read_text() == "max_batch_size: 4\n"
    assert [path.name for path in found["b"].versions[0].origin.fetch().version.iterdir()] == [
        "model.onnx"
    ]
    assert any("leading zeros" in one.reason for one in world.looked().snapshot.ignored)
    (tmp_path / "other").mkdir()
    alone = World(tmp_path / "digits", tmp_path / "other")
    write(tmp_path, "made", scale(1))
    shutil.move(tmp_path / "made" / "1", alone.root / "0001")
    assert numbers(alone.models()["digits"]) == {1: True}
    with pytest.raises(PublishError, match="itself a model"):
        alone.publish(1)


def test_a_look_asks_for_no_version_that_was_whole(world: World) -> None:
    for _ in range(5):
        world.publish(1)
    world.models()
    first = world.models()["m"]
    assert world.asked == ["", "m/"]
    world.publish(2)
    assert world.models()["m"] is not first
    assert world.asked == ["", "m/", "m/6/*"]
    world.now += 601.0
    world.models()
    assert len(world.asked) == 8
    assert world.models()["m"] is world.models()["m"]


def test_many_versions_are_found_by_one_list_and_old_manifests_read_when_they_are_loaded(
    world: World,
) -> None:
    world.publish(1)
    for number in range(2, 51):
        shutil.copytree(world.root / "m" / "1", world.root / "m" / str(number))
    (world.root / "m" / "3" / "serving_manifest.json").write_text("{")
    (world.root / "m" / "50" / "serving_manifest.json").write_text("{")
    found = world.models()["m"]
    assert world.asked == ["", "m/", "m/*"]
    assert [n for n, whole in numbers(found).items() if not whole] == [50]
    second = found.versions[1].origin.fetch().version / "model.onnx"
    assert second.read_bytes() == scale(1).SerializeToString()
    with pytest.raises(LoadError, match="its manifest"):
        found.versions[2].origin.fetch()


def test_a_configuration_comes_along_and_again_when_it_changes(world: World) -> None:
    world.publish(1)
    assert world.models()["m"].config is not None
    (world.root / "m" / "model.yaml").write_text("max_batch_size: 4\n")
    (world.root / "m" / "warmup").mkdir()
    (world.root / "m" / "warmup" / "x.bin").write_bytes(b"x")
    found = world.models()["m"]
    assert found.config is None
    assert sorted(path.name for path in found.path.rglob("*.*")) == ["model.yaml", "x.bin"]
    (world.root / "m" / "model.yaml").write_text("max_batch_size: 8\n")
    again = world.models()["m"]
    assert again.config_stamp != found.config_stamp
    assert (again.path / "model.yaml").read_text() == "max_batch_size: 8\n"


def test_fault_17_a_store_that_is_down_takes_nothing_away_and_a_start_has_its_copies(
    world: World,
) -> None:
    world.publish(1)
    (world.root / "m" / "model.yaml").write_text("max_batch_size: 4\n")
    world.publish(2)
    found = world.models()["m"]
    found.versions[0].origin.fetch()
    world.down = True
    looked = world.looked()
    assert looked.snapshot.models[0] is found
    assert "can't be asked since" in looked.snapshot.errors[0].reason
    world.open()
    (alone,) = world.looked().snapshot.models
    assert numbers(alone) == {1: True}
    assert alone.versions[0].fingerprint == found.versions[0].fingerprint
    assert (alone.path / "model.yaml").read_text() == "max_batch_size: 4\n"
    alone.versions[0].origin.fetch()
    world.down = False
    assert numbers(world.models()["m"]) == {1: True, 2: True}
    shutil.rmtree(world.cache.root)
    world.cache = Cache(world.home / "versions", 10**9)
    world.down = True
    world.open()
    assert "no copy of it was kept" in world.looked().snapshot.models[0].error


def test_urls_are_told_from_paths_and_wrong_ones_in_words() -> None:
    assert is_address("s3://a")
    assert not is_address("/a/b")
    assert checked("s3://bucket/path/", "s") == "s3://bucket/path"
    assert name_of("s3://bucket/a%20b") == "a b"
    assert name_of("s3://bucket") == "bucket"
    for wrong in ("ftp://a", "s3:///x", "file://host/x", "https://u:hush@h/x", "s3://b?x=y"):
        with pytest.raises(ConfigError) as error:
            checked(wrong, "registry.stores")
        assert "hush" not in str(error.value)
