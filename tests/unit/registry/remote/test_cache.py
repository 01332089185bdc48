"""Versions from elsewhere, kept within bounds."""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from serving.errors import LoadError, Retry
from serving.registry.remote import cache, folders
from serving.registry.remote.cache import Cache
from serving.registry.remote.listing import Listing, RemoteError, RemoteFile


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


@dataclass
class Far:
    """A version elsewhere. ``breaks_at``: bytes after which its connection ends, once; ``says``:
    files as it lists them, where that is not what they are."""

    files: Mapping[str, bytes]
    breaks_at: int | None = None
    says: Listing | None = None
    summed: bool = False
    read: list[tuple[str, int]] = field(default_factory=list)

    def listing(self) -> Listing:
        return self.says or {
            path: RemoteFile(
                len(content), hashlib.sha256(content).hexdigest() if self.summed else ""
            )
            for path, content in self.files.items()
        }

    def pieces(self, path: str, file: RemoteFile, start: int) -> Iterator[bytes]:
        self.read.append((path, start))
        content = self.files[path][start:]
        end = self.breaks_at
        yield content[:end]
        if end is not None:
            self.breaks_at = None
            raise RemoteError("it broke")

    def close(self) -> None:
        """Nothing is open."""


class World:
    def __init__(self, root: Path, most: int = 1000) -> None:
        self.root, self.most, self.now = root, most, 10_000.0
        self.used: set[str] = set()
        self.open()

    def open(self) -> None:
        self.cache = Cache(self.root, self.most, lambda: self.now)
        self.cache.in_use = lambda: self.used

    def fetch(self, key: str, far: Far | None = None, size: int = 100) -> Path:
        self.now += 100.0
        far = far or Far({"model.onnx": key.encode() * size})
        return self.cache.fetch(key, lambda: far, lambda: None)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "versions")


def test_files_come_once_and_a_restart_has_them(world: World) -> None:
    far = Far({"model.onnx": b"abc", "sub/data": b"d" * 50})
    folder = world.fetch("a", far)
    assert {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")} == {
        "model.onnx": b"abc"
    }
    assert (folder / "sub" / "data").read_bytes() == b"d" * 50
    assert (folder / "model.onnx").stat().st_mode & 0o777 == 0o400
    assert world.fetch("a", far) == folder
    world.open()
    assert world.cache.has("a")
    assert world.fetch("a", far) == folder
    assert len(far.read) == 2
    assert world.cache.held_bytes == 53
    assert not list((world.root / "work").iterdir())


def test_versions_with_the_same_contents_share_them(world: World) -> None:
    far = Far({"model.onnx": b"abc"})
    assert world.fetch("a", far) == world.fetch("b", far)
    assert world.cache.held_bytes == 3


def test_what_was_used_longest_ago_goes_and_what_is_in_use_never(world: World) -> None:
    world.most = 350
    world.open()
    for key in "abc":
        world.fetch(key)
    world.used = {"a"}
    world.fetch("c")
    world.fetch("d")
    assert [key for key in "abcd" if world.cache.has(key)] == ["a", "c", "d"]
    world.used = {"a", "c", "d"}
    with pytest.raises(LoadError, match="what is loaded leaves no room") as refused:
        world.fetch("e")
    assert refused.value.retry is Retry.LATER
    assert [key for key in "acd" if world.cache.has(key)] == ["a", "c", "d"]
    with pytest.raises(LoadError, match=r"400 bytes, and all together may have 350"):
        world.fetch("f", size=400)
    assert len([path for path in (world.root / "entries").iterdir() if path.is_dir()]) == 3


def test_what_was_fetched_a_moment_ago_is_about_to_be_loaded(world: World) -> None:
    world.most = 150
    world.open()
    world.fetch("a")
    world.now -= 90.0
    with pytest.raises(LoadError, match="leaves no room"):
        world.fetch("b")
    world.now += 100.0
    world.fetch("b")
    assert not world.cache.has("a")


def test_who_asks_what_is_here_waits_for_no_disk(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.most = 150
    world.open()
    world.fetch("a")
    asked: list[bool] = []
    remove = shutil.rmtree

    def slow(place: Path, **more: bool) -> None:
        with ThreadPoolExecutor() as pool:
            asked.append(pool.submit(world.cache.has, "a").result(timeout=5))
            assert pool.submit(lambda: world.cache.held_bytes).result(timeout=5) >= 100
        remove(place, **more)

    monkeypatch.setattr(shutil, "rmtree", slow)
    world.fetch("b")
    assert asked
    assert not any(asked)


def test_a_disk_without_room_is_told_before_anything_is_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(1, 1, 50))
    far = Far({"model.onnx": b"a" * 100})
    with pytest.raises(LoadError, match="50 are free on the disk"):
        world.fetch("a", far)
    assert not far.read


def test_a_download_that_breaks_goes_on_where_it_was(world: World) -> None:
    files = {"a.bin": b"a" * 30, "b.bin": b"b" * 40}
    far = Far(files, breaks_at=10, summed=True)
    with pytest.raises(LoadError, match="it broke"):
        world.fetch("k", far)
    assert not world.cache.has("k")
    folder = world.fetch("k", far)
    assert far.read == [("a.bin", 0), ("a.bin", 10), ("b.bin", 0)]
    assert (folder / "a.bin").read_bytes() == files["a.bin"]
    # Without sums nobody knows whether what is there is right.
    unsure = Far({"c.bin": b"c" * 30}, breaks_at=10)
    with pytest.raises(LoadError, match="it broke"):
        world.fetch("l", unsure)
    world.fetch("l", unsure)
    assert unsure.read == [("c.bin", 0), ("c.bin", 0)]


def test_a_download_goes_on_where_the_disk_has_room_for_the_rest_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = Far({"a.bin": b"a" * 100}, breaks_at=90, summed=True)
    with pytest.raises(LoadError, match="it broke"):
        world.fetch("k", far)
    spare = 64 * 1024 * 1024
    monkeypatch.setattr(shutil, "disk_usage", lambda path: _Usage(1, 1, spare + 10))
    assert (world.fetch("k", far) / "a.bin").stat().st_size == 100
    assert far.read == [("a.bin", 0), ("a.bin", 90)]


def test_downloads_that_nobody_goes_on_with_count_within_the_bound(world: World) -> None:
    world.most, world.now = 350, time.time()
    world.open()
    for key in "abcdefg":
        with pytest.raises(LoadError, match="it broke"):
            world.fetch(key, Far({"a.bin": b"a" * 100}, breaks_at=90, summed=True))
        left = sum(p.stat().st_size for p in (world.root / "work").rglob("*") if p.is_file())
        assert left + world.cache.held_bytes <= world.most
    world.now += 3 * 24 * 3600.0
    world.fetch("h")
    assert not list((world.root / "work").iterdir())


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ({"model.onnx": RemoteFile(2)}, "came with more bytes in place of 2"),
        ({"model.onnx": RemoteFile(9)}, "came with 3 bytes in place of 9"),
        ({"model.onnx": RemoteFile(3, "0" * 64)}, "its SHA-256 is another one"),
        ({}, "it has no files"),
        ({"../x": RemoteFile(1)}, "not a path below"),
        ({"/etc/x": RemoteFile(1)}, "not a path below"),
        ({"a/b/c/d/e/f": RemoteFile(1)}, "folders deep"),
        ({"a": RemoteFile(1), "a/b": RemoteFile(1)}, "a is a file and a folder"),
        ({f"f{i}": RemoteFile(0) for i in range(10_001)}, "more than 10000 files"),
    ],
)
def test_what_is_not_as_it_was_listed_is_not_kept(world: World, says: Listing, words: str) -> None:
    far = Far({"model.onnx": b"abc"}, says=says)
    if not says:
        far = Far({})
    with pytest.raises(LoadError, match=words):
        world.fetch("a", far)
    assert not world.cache.has("a")
    assert not list((world.root / "entries").iterdir())


def test_what_changed_on_the_disk_comes_anew(world: World) -> None:
    far = Far({"model.onnx": b"abc"})
    folder = world.fetch("a", far)
    (folder / "model.onnx").chmod(0o600)
    (folder / "model.onnx").write_bytes(b"xyz")
    assert (world.fetch("a", far) / "model.onnx").read_bytes() == b"abc"
    assert len(far.read) == 2
    shutil.rmtree(folder)
    world.open()
    assert not world.cache.has("a")


def test_what_a_crash_left_goes_at_the_next_start(world: World) -> None:
    world.fetch("a")
    (world.root / "entries" / "f00").mkdir()
    (world.root / "entries" / "f00" / "model.onnx").write_bytes(b"orphan")
    (world.root / "names" / ".writing-x").write_text("half")
    (world.root / "names" / "broken.json").write_text("{")
    world.open()
    assert world.cache.has("a")
    assert not (world.root / "entries" / "f00").exists()
    assert [path.name for path in (world.root / "names").iterdir()] == ["a.json"]


def test_a_call_that_is_off_ends_the_download(world: World) -> None:
    def off() -> None:
        raise LoadError("nobody waits")

    with pytest.raises(LoadError, match="nobody waits"):
        world.cache.fetch("a", lambda: Far({"model.onnx": b"abc"}), off)
    assert not world.cache.has("a")


def test_where_the_directory_cannot_be_made_a_temporary_one_serves(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    kept = Cache(tmp_path / "file" / "versions", 1000)
    folder = kept.fetch("a", lambda: Far({"model.onnx": b"abc"}), lambda: None)
    assert (folder / "model.onnx").read_bytes() == b"abc"
    kept.close()
    assert not folder.exists()


def disk_of(monkeypatch: pytest.MonkeyPatch, root: Path, size: int) -> None:
    """A disk on which ``size`` bytes of files have room, beside what always stays free."""

    def usage(path: Path) -> _Usage:
        held = sum(p.stat().st_size for p in root.glob("*/*/**/*") if p.is_file())
        return _Usage(size, held, 64 * 1024 * 1024 + size - held)

    monkeypatch.setattr(shutil, "disk_usage", usage)


def test_fault_16_what_nobody_uses_goes_for_a_disk_that_is_full_before_the_bound_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_of(monkeypatch, world.root, 250)
    world.fetch("a")
    world.fetch("b")
    world.used = {"a"}
    world.fetch("c")
    assert [key for key in "abc" if world.cache.has(key)] == ["a", "c"]
    assert world.cache.held_bytes == 200


def test_fault_16_nothing_goes_where_that_would_make_no_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_of(monkeypatch, world.root, 250)
    world.fetch("a")
    world.fetch("b")
    world.used = {"a"}
    far = Far({"model.onnx": b"x" * 200})
    with pytest.raises(LoadError, match=r"200 bytes, and \d+ are free") as refused:
        world.fetch("c", far)
    assert refused.value.retry is Retry.LATER
    assert not far.read
    assert [key for key in "ab" if world.cache.has(key)] == ["a", "b"]


def test_fault_16_what_came_before_the_disk_was_full_need_not_come_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last places on it may be missing for the documents alone."""
    far = Far({"model.onnx": b"a" * 100}, summed=True)

    def full(place: Path, digest: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "write_name", full)
        with pytest.raises(LoadError, match="no space left") as refused:
            world.fetch("a", far)
    assert refused.value.retry is Retry.LATER
    assert not world.cache.has("a")
    # Whatever takes room on the disk is counted, or may go for others.
    assert [one for one in (world.root / "entries").iterdir() if one.is_dir()] == []
    assert (world.fetch("a", far) / "model.onnx").read_bytes() == b"a" * 100
    assert far.read == [("model.onnx", 0)]


def test_fault_17_a_want_of_descriptors_is_no_damage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the store down, what is here is all there is."""
    world.fetch("a")

    def short(place: Path) -> str:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(folders, "sum_of", short)
        with pytest.raises(LoadError, match="too many open files") as refused:
            world.fetch("a")
    assert refused.value.retry is Retry.LATER
    far = Far({})
    assert world.fetch("a", far).is_dir()
    assert not far.read
