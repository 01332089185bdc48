"""SIGTERM and SIGINT while Python still imports: nothing has begun that is to be ended in order.

It imports nothing that takes long itself.
"""

from __future__ import annotations

import os
import signal

NUMBERS = (signal.SIGTERM, signal.SIGINT)


def end_at_once() -> None:
    """Until other handlers are installed, end at the first, well.

    Needs a handler, for the kernel keeps from the first process of a container what it has none
    for. To be called first, from the main thread: Python's imports take a while.
    """
    for number in NUMBERS:
        signal.signal(number, lambda number, frame: os._exit(0))
