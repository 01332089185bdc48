"""Bounded load on loopback: clients that count what they got, in threads."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from types import TracebackType
from typing import Self

import grpc
import numpy as np

from tests.clients import oip
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, stub

X = np.array([[1, 2]], np.float32)
BODY = json.dumps({"inputs": [oip.json_input("X", X)]}).encode()
ROWS = json.dumps({"instances": X.tolist()}).encode()


@dataclass
class Load:
    """Calls ``model`` (a ``scale`` model) over both doors until left; then look at the counts.
    Over HTTP by turns as the Open Inference Protocol and as TensorFlow Serving have it.

    ``versions`` counts the answers by version; each is checked to be wholly that version's.
    ``refused`` counts connections that the gateway no longer took, everything else that went
    wrong is in ``failures``.
    """

    gateway: Gateway
    model: str
    clients: int = 3
    limit_s: float = 60.0
    versions: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    refused: int = 0

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._deadline = time.monotonic() + self.limit_s
        doors: list[Callable[[], None]] = [self._http, self._grpc] * self.clients
        self._threads = [threading.Thread(target=door) for door in doors]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _going(self) -> bool:
        return not self._stop.is_set() and time.monotonic() < self._deadline

    def _count(self, version: str, y: np.ndarray) -> None:
        if not np.array_equal(y, X * int(version)):
            self.failures.append(f"version {version} answered {y}")
        self.versions[version] += 1

    def _http(self) -> None:
        while self._going():
            connection = http.client.HTTPConnection("127.0.0.1", self.gateway.http_port, timeout=20)
            with contextlib.closing(connection):
                try:
                    connection.connect()
                except OSError:
                    self.refused += 1
                    return
                if not self._keep_asking(connection):
                    return

    def _keep_asking(self, connection: http.client.HTTPConnection) -> bool:
        """Over one connection until the server ends it in words; False at a failure."""
        forms = cycle(
            [(f"/v2/models/{self.model}/infer", BODY), (f"/v1/models/{self.model}:predict", ROWS)]
        )
        while self._going():
            path, request = next(forms)
            try:
                connection.request("POST", path, request)
                answer = connection.getresponse()
                body = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"http: {error!r}")
                return False
            if answer.status != 200:
                self.failures.append(f"http: {answer.status} {body!r}")
                return False
            found = json.loads(body)
            if request is ROWS:
                y = np.array(found["predictions"], np.float32)
                self._count(answer.headers["X-Model-Version"], y)
            else:
                self._count(found["model_version"], oip.json_arrays(found)["Y"])
            if answer.will_close:
                return True
        return True

    def _grpc(self) -> None:
        request = oip.grpc_request(self.model, {"X": X})
        # gRPC's own retry of streams that a GOAWAY says were never looked at stays on: a
        # client may send one in the moment in which the connection ends. Nothing else is
        # retried without a policy.
        with channel(self.gateway) as one:
            infer = stub(one).ModelInfer
            while self._going():
                try:
                    response = infer(request, timeout=20)
                except grpc.RpcError as error:
                    if "refused" in error.details().lower():
                        self.refused += 1
                    else:
                        self.failures.append(f"grpc: {error.code().name} {error.details()}")
                    return
                self._count(response.model_version, oip.grpc_arrays(response)["Y"])
