"""A version in this process whose runs of many texts go to a child beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from serving._core import PackedTexts
from serving.cancellation import Cancellation
from serving.execution.isolation.many_texts import ManyTexts, Packing
from serving.execution.isolation.parent.on_demand import OnDemand
from serving.execution.isolation.parent.supervised import IsolatedRunner
from serving.execution.session import Array, Output, Run, Runner

if TYPE_CHECKING:
    from serving._core import Batch


class TextsBeside:
    """With a ``Runner``'s surface, and ``packing`` for the batches that are for the child."""

    def __init__(self, runner: Runner, many: ManyTexts, child: OnDemand) -> None:
        self.signature = runner.signature
        self.providers, self.provider = runner.providers, runner.provider
        self.threads, self.notes = runner.threads, runner.notes
        self._inner = runner
        self._many = many
        self._child = child
        # Those that only take texts are known by what comes.
        gives = any(tensor.datatype == "BYTES" for tensor in runner.signature.outputs)
        self.run: Run = self._run if gives else runner.run

    @property
    def trouble(self) -> str:
        """What is to be said of its child now: why it has none, or that there is one."""
        process = self._child.process
        if process is None:
            return self._child.trouble
        return process.trouble or "its runs of many texts are in a process of their own"

    @property
    def process(self) -> IsolatedRunner | None:
        return self._child.process

    def packing(self, batch: Batch, again: bool = False) -> Packing | None:
        if not again and not self._many.many(*batch.weight):
            return None
        if self._child.is_awaited:
            # The one that it is started for has run here. Whoever sends more of them would hold up
            # all other versions until it has come.
            batch.step_aside()
            self._child.wait_ready(batch.deadline)
            left = batch.deadline
            if left is not None and left <= 0:
                return self._child  # nobody waits for it any more: here it would hold up others
        return self._child.take()

    def run_alone(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        return self.run(names, feeds, requests)

    def _run(
        self, names: Sequence[str], feeds: Mapping[str, Array], requests: int = 0
    ) -> Sequence[Output]:
        outputs = self._inner.run(names, feeds, requests)
        # One of many texts is for the child by what it brings, whatever it gives.
        if _texts(outputs) >= self._many.limit > _texts(feeds.values()):
            self._many.gave(_texts(outputs), sum(map(_bytes, feeds.values())))
        return outputs

    def stop(self, thread: int, alone: bool = True) -> None:
        self._inner.stop(thread, alone)
        self._child.stop(thread, alone)

    def wait_ready(self, timeout: float | None = None, ending: Cancellation | None = None) -> bool:
        """Runs in this process are possible; others wait for themselves."""
        return self._inner.wait_ready(timeout, ending)

    def close(self) -> None:
        self._child.close()
        self._inner.close()


def _texts(values: Iterable[object]) -> int:
    return sum(one.size for one in values if isinstance(one, np.ndarray) and one.dtype == object)


def _bytes(array: Array) -> int:
    """As ``Batch.weight`` counts them: texts as they travel."""
    if array.dtype == object:
        return int(PackedTexts.of(array).data.nbytes)
    return array.nbytes
