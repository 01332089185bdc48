"""A gateway as a process: run until a signal asks it to stop, then left."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from serving.app import Drained, Gateway
from serving.observe import nonblocking_writer
from serving.on_demand import OnDemand
from serving.stop_signals import StopSignals

# The exit status where nothing could be served, and the setting ``require_models`` is on.
NO_MODELS = 4
# For the last lines to be read before the process ends.
_LAST_LINES_S = 1.0


def serve(
    gateway: Gateway,
    signals: StopSignals,
    reloads: OnDemand,
    *,
    on_wait: Callable[[], None],
    on_ready: Callable[[], None],
    on_stop: Callable[[], None],
    on_stopped: Callable[[Drained], None],
) -> int:
    """Run until ``signals`` ask to stop; the exit status. ``NO_MODELS`` at once where it lacks
    them. ``reloads`` are done from here on, those that were asked for before, too.

    The main thread only waits: a handler runs between two of its instructions, so it must
    not sit in native code.
    """
    gateway.start()
    reloads.start()
    if gateway.wait_loaded(on_wait, signals.asked):
        on_ready()
    signals.wait_until(lambda: signals.asked() or gateway.lacks_models)
    on_stop()
    on_stopped(_stop(gateway, signals))
    return NO_MODELS if gateway.lacks_models else 0


def _stop(gateway: Gateway, signals: StopSignals) -> Drained:
    """In a thread of its own, so that a second signal is seen all the while."""
    stopped: Future[Drained] = Future()

    def stop() -> None:
        try:
            stopped.set_result(gateway.stop())
        except BaseException as error:  # noqa: BLE001 - the main thread raises it
            stopped.set_exception(error)
        signals.wake()

    stopper = threading.Thread(target=stop, name="stop")
    stopper.start()
    signals.wait_until(stopped.done)
    stopper.join()
    return stopped.result()


def leave(code: int) -> None:
    """End the process. Threads that still sit in native code (a load that can't be
    interrupted) must not see the interpreter torn down under them."""
    if nonblocking_writer.drain(_LAST_LINES_S):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # whoever read it may have left
                stream.flush()
    others = [t for t in threading.enumerate() if t is not threading.current_thread()]
    # A library of native threads says nothing of these to Python.
    if others or "obstore" in sys.modules:
        os._exit(code)
    sys.exit(code)
