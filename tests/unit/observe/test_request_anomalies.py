"""Requests that are not as their model's schema says, by feature, as operators are told."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from serving.errors import ErrorCode, ServingError
from serving.models.state import State
from serving.models.views import ModelView, VersionView
from serving.observe.request_anomalies import MOST_TOLD, operations
from serving.registry.folder_origin import FolderOrigin


class Line:
    def __init__(self, *counts: tuple[str, str, bool, int]) -> None:
        self._counts = counts

    def anomalies(self) -> list[tuple[str, str, bool, int]]:
        return list(self._counts)


def asked(version: str, *counts: tuple[str, str, bool, int]) -> Any:
    origin = FolderOrigin(Path("/models/m/3"))
    ready = VersionView(3, State.READY, origin, queue=Line(*counts))  # type: ignore[arg-type]  # it only counts
    loading = VersionView(4, State.LOADING, origin)
    views = {"m": ModelView("m", (ready, loading))}
    (operation,) = operations(views.get)
    scope = {"type": "http", "path_params": {"name": "m", "version": version}}
    answer = asyncio.run(operation.handler(Request(scope)))  # type: ignore[arg-type]  # a coroutine
    return json.loads(bytes(answer.body))


def test_those_that_most_requests_had_come_first() -> None:
    told = asked("3", ("a", "nan", False, 2), ("b", "missing", True, 9), ("a", "missing", False, 9))
    assert [tuple(one.values()) for one in told["anomalies"]] == [
        ("a", "missing", "log", 9),
        ("b", "missing", "reject", 9),
        ("a", "nan", "log", 2),
    ]
    assert told["left_out"] == 0
    assert asked("4") == {"anomalies": [], "left_out": 0}


def test_features_without_end_are_bounded() -> None:
    told = asked("3", *((f"f{n}", "nan", True, n) for n in range(MOST_TOLD + 3)))
    assert (len(told["anomalies"]), told["left_out"]) == (MOST_TOLD, 3)
    assert told["anomalies"][0]["requests"] == MOST_TOLD + 2


@pytest.mark.parametrize("version", ["5", "03", "x", "9" * 40])
def test_a_version_that_there_is_not_is_told(version: str) -> None:
    with pytest.raises(ServingError, match="no such version") as caught:
        asked(version)
    assert caught.value.code is ErrorCode.NOT_FOUND
