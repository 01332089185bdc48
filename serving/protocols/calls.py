"""The threads that pull calls from the core and see that each is answered."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from structlog.contextvars import bound_contextvars

from serving.errors import ErrorCode, ServingError
from serving.events import log
from serving.models.commands.command import Outcome
from serving.protocols import grpc_calls, http_calls, tensorflow_calls, tensorflow_http
from serving.protocols.call_context import CallContext
from serving.protocols.later import Later
from serving.protocols.side_line import SideLine

if TYPE_CHECKING:
    from serving import _core

_JOIN_S = 5.0
# Of gRPC, by name: the core's tables say which of their methods are calls.
_SERVICES: Mapping[str, Callable[[CallContext, _core.Call], bytes | Later]] = {
    grpc_calls.SERVICE: grpc_calls.answer,
    **dict.fromkeys(tensorflow_calls.SERVICES, tensorflow_calls.answer),
}


class CallPool:
    """A few threads that answer metadata, configuration, statistics and the repository's calls; and
    one for tables, each of which may take seconds."""

    def __init__(self, server: _core.Server, context: CallContext, threads: int) -> None:
        self._server = server
        self._context = context
        self._threads = [
            threading.Thread(target=self._run, name=f"calls-{number}", daemon=True)
            for number in range(threads)
        ]
        self._tables = SideLine("tables", self._answer)

    def start(self) -> None:
        self._tables.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for the threads; they end once the server has stopped."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(_JOIN_S)
        self._tables.stop(_JOIN_S)

    def _run(self) -> None:
        while (call := self._server.next_call()) is not None:
            self._take(call)
            # It counts as held for as long as we have it, and the next may be long in coming.
            del call

    def _take(self, call: _core.Call) -> None:
        _safely(call, self._hand_on)

    def _hand_on(self, call: _core.Call) -> None:
        if not http_calls.is_table(call):
            answer_call(call, self._context)
            return
        try:
            self._tables.push(call)
        except ServingError as error:
            call.fail(error.code, error.message)

    def _answer(self, call: _core.Call) -> None:
        _safely(call, lambda one: answer_call(one, self._context))


def _safely(call: _core.Call, answer: Callable[[_core.Call], None]) -> None:
    with _named(call):
        try:
            answer(call)
        except Exception:  # noqa: BLE001 - no call may end the thread that answers the next
            log.error("call_not_answered", detail=traceback.format_exc())


def _named(call: _core.Call) -> AbstractContextManager[object]:
    """The request's id in every line that is logged meanwhile."""
    if call.request_id is None:
        return nullcontext()
    return bound_contextvars(request_id=call.request_id)


def answer_call(call: _core.Call, context: CallContext) -> None:
    """Respond to ``call`` or fail it, in our words whatever happens; or see to it that it is
    answered when the command that it gave has ended."""
    try:
        found = _answer(call, context)
    except ServingError as error:
        call.fail(error.code, error.message, error.detail)
    except Exception:  # noqa: BLE001 - a bug of ours costs this call alone
        call.fail(ErrorCode.INTERNAL, "internal error", traceback.format_exc())
    else:
        if isinstance(found, Later):
            _await(call, found)
        else:
            call.respond(found)


def _answer(call: _core.Call, context: CallContext) -> bytes | Later:
    if call.protocol == "grpc":
        return _SERVICES[call.service](context, call)
    if tensorflow_http.answers(call.path):
        return tensorflow_http.answer(context, call)
    return http_calls.answer(context, call)


def _await(call: _core.Call, later: Later) -> None:
    """Have the call answered once, whoever says first how."""
    once = threading.Lock()

    def answer(outcome: Outcome | None) -> None:
        if once.acquire(blocking=False):
            _finish(call, later, outcome)

    try:
        later.on_answer(answer)
    except Exception:  # noqa: BLE001 - a bug of ours costs this call alone, not its place as well
        if once.acquire(blocking=False):
            later.end()
            call.fail(ErrorCode.INTERNAL, "internal error", traceback.format_exc())


def _finish(call: _core.Call, later: Later, outcome: Outcome | None) -> None:
    """In the thread that carries the command out: nothing may escape into it. The client may have
    left; the core has then answered for us."""
    later.end()
    with _named(call):
        try:
            error = later.failure(outcome)
            if error is None:
                call.respond(later.body)
            else:
                call.fail(error.code, error.message, error.detail)
        except Exception:  # noqa: BLE001 - the thread is the manager's
            log.error("call_not_answered", detail=traceback.format_exc())
