"""Users who go on asking, over both doors, and look at every answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from tests.bad_versions.models import SPECIAL, X, expected
from tests.clients.asking import Asking
from tests.clients.gateway import Gateway, wait_until

# A request's own time, far below what a gateway allows by default.
DEADLINE_S = 10.0


def requests(*, special: bool, rows: int = 1) -> list[np.ndarray]:
    """What users ask for, in turn: rows of the set, and after each three of them a special one."""
    found = [X[at : at + rows].copy() for at in range(0, 60, rows)]
    if special:
        for at, one in enumerate(found[3::4], 1):
            one[0, :2] = SPECIAL, 8 * at
    return found


class Users(Asking):
    """``versions`` counts the good answers by the version that gave them, ``wrong`` those that are
    not the good model's; ``failures``: everything else that a user saw."""

    def __init__(self, gateway: Gateway, asked: list[np.ndarray], pause_s: float = 0.004) -> None:
        self.versions: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.failures: list[Any] = []
        self._gateway, self._asked, self._pause_s = gateway, asked, pause_s
        super().__init__(self._by_http, self._by_grpc)

    def _by_http(self) -> None:
        with triton_http.InferenceServerClient(self._gateway.http, network_timeout=20) as client:
            self._go(client, triton_http.InferInput, {"timeout": int(DEADLINE_S * 1e6)})

    def _by_grpc(self) -> None:
        with triton_grpc.InferenceServerClient(self._gateway.grpc) as client:
            self._go(client, triton_grpc.InferInput, {"client_timeout": DEADLINE_S})

    def _go(self, client: Any, input_of: Any, limits: dict[str, Any]) -> None:
        at = 0
        while not self._stop.wait(self._pause_s):
            x = self._asked[at % len(self._asked)]
            at += 1
            given = input_of("x", list(x.shape), "FP32")
            given.set_data_from_numpy(x)
            try:
                answer = client.infer("m", [given], **limits)
            except Exception as error:  # noqa: BLE001 - whatever it is, a user would see it
                self.failures.append(error)
                continue
            self._look(answer, x)

    def _look(self, answer: Any, x: np.ndarray) -> None:
        said = answer.get_response()
        version = said["model_version"] if isinstance(said, dict) else said.model_version
        self.versions[version] += 1
        y = answer.as_numpy("y")
        if y.shape != (len(x), 3) or not np.allclose(y, expected(x), atol=0.02):
            self.wrong[version] += 1


@contextmanager
def asking(gateway: Gateway, asked: list[np.ndarray], pause_s: float = 0.004) -> Iterator[Users]:
    """Version 1 answers them already. Afterwards nothing has failed for any of them."""
    with Users(gateway, asked, pause_s) as users:
        wait_until(lambda: users.versions["1"] >= 20, 20, "users are answered")
        yield users
    assert users.failures == []
