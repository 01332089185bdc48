"""A finished version into an object store: claimed, uploaded, its manifest last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from serving.errors import ConfigError
from serving.registry.copying import Progress, PublishError
from serving.registry.manifest import MANIFEST_NAME, Manifest, read_manifest
from serving.registry.names import UNFINISHED, is_config
from serving.registry.object_store.address import checked, name_of
from serving.registry.object_store.layout import is_model, versions_in
from serving.registry.object_store.store import Store, StoreError
from serving.user_files import open_file

# While it lies there, and no manifest does, a version is not whole.
CLAIM = f"{UNFINISHED}claim"
_TIMEOUT_S = 60.0
_MOST_RIVALS = 20
_MOST_CONFIG = 1024 * 1024


class StoreTarget:
    """Where versions of one model are published. Raises PublishError throughout."""

    def __init__(self, url: str, model: str) -> None:
        try:
            self.url = checked(url, "--to")
            self._store = Store(self.url, _TIMEOUT_S)
        except ConfigError as error:
            raise PublishError(str(error)) from None
        self._model = model
        with _told():
            top = self._store.level("")
            if is_model(top, None):
                raise PublishError(
                    f"{name_of(self.url)} is itself a model, not a place of models: name the one"
                    " above it"
                )
            level = self._store.level(f"{model}/")
            self._taken = set(versions_in(level.folders, itself=False)[0])
            self._config = [file for name, file in level.files.items() if is_config(name)]

    def bring_config(self, folder: Path) -> None:
        """The model's configuration into a folder: it says what its file is called."""
        folder.mkdir(parents=True, exist_ok=True)
        with _told():
            for file in self._config:
                content = self._store.read(file, _MOST_CONFIG)
                (folder / file.path.rpartition("/")[2]).write_bytes(content)

    def publish(self, folder: Path, version: int | None, progress: Progress) -> tuple[int, str]:
        """What ``folder`` holds, with its manifest, as ``version``, or as the one after the
        highest there is; which that became, and its URL. Until its manifest is there, which is the
        last thing that is written, nobody takes it for whole."""
        manifest = read_manifest(folder)
        assert manifest is not None
        with _told():
            number = self._claim(version)
            self._upload(folder, replace(manifest, version=number), progress)
        return number, f"{self.url}/{self._model}/{number}"

    def _claim(self, version: int | None) -> int:
        """A version that is ours from now on."""
        for _ in range(_MOST_RIVALS):
            number = version or max(self._taken, default=0) + 1
            if number in self._taken:
                raise PublishError(f"version {number} exists already")
            try:
                self._store.put(self._at(number, CLAIM), b"", new=True)
                return number
            except FileExistsError:
                self._taken.add(number)
        raise PublishError("others took every version that was free: publish again")

    def _upload(self, folder: Path, manifest: Manifest, progress: Progress) -> None:
        total = sum(entry.size for entry in manifest.files.values())
        done = 0
        for name, entry in sorted(manifest.files.items()):
            with open_file(folder / name) as file:
                self._store.put(self._at(manifest.version, name), file)
            done += entry.size
            progress(done, total)
        content = manifest.to_json().encode()
        self._store.put(self._at(manifest.version, MANIFEST_NAME), content, new=True)

    def _at(self, version: int, name: str) -> str:
        return f"{self._model}/{version}/{name}"


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        raise PublishError(f"the store: {error}") from None
    except ConfigError as error:
        raise PublishError(str(error)) from None
    except OSError as error:
        raise PublishError((error.strerror or str(error)).lower()) from error
