"""What a process gets from the one that started it, and can't work with."""

from __future__ import annotations

import os
import signal

_OWNERS_OWN = 0o700


def put_right() -> None:
    """To be called first, from the main thread.

    SIGCHLD ignored: the kernel would keep from us how children ended. A umask that
    denies us our own files: what we write we could not read. Signals that are blocked or
    ignored: ``stop_signals``; limits: ``descriptors``.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.umask(os.umask(_OWNERS_OWN) & ~_OWNERS_OWN)
