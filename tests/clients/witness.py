"""After each hostile request: health answers, a known number is right, memory has not moved."""

from __future__ import annotations

import contextlib
from typing import Self

import numpy as np

from tests.clients import oip
from tests.clients.gateway import Gateway
from tests.clients.triton import channel, stub
from tests.small_models import tiny_expected

X = np.array([[1, 2, 3, 4]], np.float32)
EXPECTED = tiny_expected(X)
MIB = 1 << 20


class Witness:
    """Looks once before and once after."""

    def __init__(self, gateway: Gateway, slack: int = 32 * MIB) -> None:
        self.gateway = gateway
        self.slack = slack
        self._open = contextlib.ExitStack()
        self._rpc = stub(self._open.enter_context(channel(gateway)))
        self.check()
        self.before = gateway.rss()

    def check(self) -> None:
        for path in ("/v2/health/live", "/v2/health/ready"):
            assert self.gateway.get(path, timeout=5).status == 200, path
        answer = self.gateway.infer("tiny", {"inputs": [oip.json_input("x", X)]})
        assert answer.status == 200, answer
        np.testing.assert_allclose(oip.json_arrays(answer.json())["y"], EXPECTED, rtol=1e-5)
        response = self._rpc.ModelInfer(oip.grpc_request("tiny", {"x": X}), timeout=10)
        np.testing.assert_allclose(oip.grpc_arrays(response)["y"], EXPECTED, rtol=1e-5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._open:
            if kind is None:
                self._look_again()

    def _look_again(self) -> None:
        assert self.gateway.process.poll() is None, self.gateway.log()[-4000:]
        self.check()
        moved = self.gateway.rss() - self.before
        assert moved < self.slack, f"resident memory grew by {moved / MIB:.1f} MiB"
        self.gateway.assert_clean_log()
