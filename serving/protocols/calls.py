"""The threads that pull calls from the core and see that each is answered."""

from __future__ import annotations

import threading
import traceback
from typing import TYPE_CHECKING

from serving.errors import ServingError, Word
from serving.events import log
from serving.protocols import grpc_calls, http_calls
from serving.protocols.views import Directory
from serving.settings import Settings

if TYPE_CHECKING:
    from serving import _core

_JOIN_S = 5.0


class CallPool:
    """A few threads that answer metadata, configuration, statistics and the index."""

    def __init__(self, server: _core.Server, directory: Directory, settings: Settings) -> None:
        self._server = server
        self._directory = directory
        self._name = settings.name
        self._threads = [
            threading.Thread(target=self._run, name=f"calls-{number}", daemon=True)
            for number in range(settings.threads.calls)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for the threads; they end once the server has stopped."""
        for thread in self._threads:
            thread.join(_JOIN_S)

    def _run(self) -> None:
        while (call := self._server.next_call()) is not None:
            try:
                answer_call(call, self._directory, self._name)
            except Exception:  # noqa: BLE001 - no call may end the thread that answers the next
                log.error("call_not_answered", detail=traceback.format_exc())


def answer_call(call: _core.Call, directory: Directory, server_name: str) -> None:
    """Respond to ``call`` or fail it, in our words whatever happens."""
    try:
        body = _answer(call, directory, server_name)
    except ServingError as error:
        call.fail(error.word, error.message, error.detail)
    except Exception:  # noqa: BLE001 - a bug of ours costs this call alone
        call.fail(Word.INTERNAL, "internal error", traceback.format_exc())
    else:
        call.respond(body)


def _answer(call: _core.Call, directory: Directory, server_name: str) -> bytes:
    if call.protocol == "grpc":
        return grpc_calls.answer(directory, server_name, call.method, call.body)
    return http_calls.answer(directory, server_name, call.method, call.path, call.body)
