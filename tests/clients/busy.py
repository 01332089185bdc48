"""A model that is kept busy: one run under way, and requests in line behind it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.clients.gateway import Gateway, wait_until
from tests.clients.triton import channel, stub

TRIES = 20


@contextlib.contextmanager
def line(
    gateway: Gateway,
    model: str,
    request: Any,
    waiting: int,
    timeout: float = 60,
    *,
    called_off: bool = False,
) -> Iterator[int]:
    """One run of ``request`` under way and ``waiting`` more behind it; how many were sent.

    Both are seen before it is left to the test. What passes by itself may be over by then on a
    slow machine: it is sent again. All of them have been answered at the end, or are
    ``called_off`` there, and run no further.
    """
    with channel(gateway) as one:
        infer = stub(one).ModelInfer
        futures: list[Any] = []

        def stands(name: str, count: int, first: Any) -> bool:
            wait_until(
                lambda: gateway.metric(name, model=model) == count or first.done(),
                30,
                f"{name} is {count}",
                0.005,
            )
            return not first.done()

        for _ in range(TRIES):
            first = infer.future(request, timeout=timeout)
            futures.append(first)
            if not stands("serving_executing_batches", 1, first):
                continue
            futures += [infer.future(request, timeout=timeout) for _ in range(waiting)]
            if stands("serving_queue_requests", waiting, first):
                break
            for future in futures:
                future.result()
        else:
            raise AssertionError("the machine is too slow for this test")
        yield len(futures)
        for future in futures:
            if called_off:
                future.cancel()
            else:
                future.result()
