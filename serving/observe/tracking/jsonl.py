"""Windows as lines of JSON, in files that are rotated."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from serving.observe.errors import ExportError
from serving.observe.figures import Key
from serving.observe.tracking.exporter import RunFacts
from serving.observe.windows import Window
from serving.settings import JsonLinesSettings

_PREFIX = "windows-"
_SUFFIX = ".jsonl"


class JsonLinesExporter:
    """``<path>/windows-<number>.jsonl``: numbers grow, the newest files are kept. A line that
    can't be written whole is taken back, so a reader never meets half of one."""

    name = "jsonl"

    def __init__(self, settings: JsonLinesSettings, folder: Path) -> None:
        self._folder = folder
        self._most_bytes = settings.max_file_bytes
        self._most_files = settings.max_files
        self.target = str(folder)

    def prepare(
        self, windows: Sequence[Window], facts: Mapping[Key, RunFacts]
    ) -> list[dict[str, Any]]:
        return [
            {**one.to_json(), **_origin(facts.get((one.model, one.version)))} for one in windows
        ]

    def keep(self, present: Collection[Key], now: float) -> None:
        """Files don't end with versions."""

    def send(self, prepared: Sequence[dict[str, Any]]) -> int:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for one in prepared:
                self._write(json.dumps(one, ensure_ascii=False).encode() + b"\n")
            self._remove_oldest()
        except OSError as error:
            raise ExportError(str(error.strerror or "not writable").lower()) from None
        return 0

    def settle(self) -> None:
        """Everything is written."""

    def close(self) -> None:
        """Nothing is open between two writes."""

    def _write(self, line: bytes) -> None:
        numbers = self._numbers()
        number = numbers[-1] if numbers else 1
        file = self._file(number)
        size = file.stat().st_size if numbers else 0
        if size and size + len(line) > self._most_bytes:
            file, size = self._file(number + 1), 0
        with file.open("ab", buffering=0) as stream:  # file: ours, written
            size = os.fstat(stream.fileno()).st_size
            if stream.write(line) != len(line):
                stream.truncate(size)
                raise OSError(28, os.strerror(28))

    def _remove_oldest(self) -> None:
        for number in self._numbers()[: -self._most_files]:
            self._file(number).unlink(missing_ok=True)

    def _numbers(self) -> list[int]:
        """Of the files that are there, ascending."""
        middles = (
            entry.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
            for entry in self._folder.glob(f"{_PREFIX}*{_SUFFIX}")
        )
        return sorted(int(middle) for middle in middles if middle.isascii() and middle.isdecimal())

    def _file(self, number: int) -> Path:
        return self._folder / f"{_PREFIX}{number:06d}{_SUFFIX}"


def _origin(facts: RunFacts | None) -> dict[str, str]:
    if facts is None:
        return {}
    named = {
        "server": facts.params.get("server", ""),
        "git_commit": facts.git_commit,
        "mlflow_run_id": facts.run_id,
        "mlflow_model_id": facts.model_id,
    }
    return {key: value for key, value in named.items() if value}
