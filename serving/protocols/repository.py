"""Triton's load and unload calls, from their parameters to the manager's commands."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.authorization import Gate
from serving.errors import ConfigError, ErrorCode, ServingError
from serving.model_config import ModelConfig
from serving.model_config.triton_json import read_triton_json
from serving.models.commands.command import (
    SUPERSEDED,
    Command,
    LoadModel,
    Outcome,
    Ticket,
    UnloadModel,
)
from serving.protocols.later import Later
from serving.protocols.uploads import check_files
from serving.protocols.views import MAX_BODY_BYTES, parse_version, shown
from serving.settings import Settings

# Load calls that wait for their load.
MAX_PENDING = 64
FILE = "file:"
# Who gives the commands, as the history and the log name it.
_BY = "the repository API"

NOT_ALLOWED = "explicit model load / unload is not allowed if polling is enabled"
# What a call may say of itself, in the types that both doors can carry.
Parameters = Mapping[str, "str | bytes | bool | int | float | None"]


class Commander(Protocol):
    """Who carries out commands; the manager is one."""

    def command(self, command: Command, by: str = "") -> Ticket: ...


@dataclass(frozen=True, slots=True)
class Commanded(Later):
    """An answer that comes when a command has ended, or shows where ``begun``; ``release`` is
    called then."""

    ticket: Ticket
    release: Callable[[], None]
    begun: bool = False

    def on_answer(self, answer: Callable[[Outcome | None], None]) -> None:
        """See ``Later``."""
        if self.begun:
            self.ticket.on_begun(answer)
        else:
            self.ticket.on_done(answer)

    def end(self) -> None:
        self.release()

    def failure(self, outcome: Outcome | None) -> ServingError | None:
        command = self.ticket.command
        if outcome is None or outcome.ok or is_overtaken(command, outcome):
            return None
        return explain(command, outcome)


class Pending:
    """How many calls may wait, and how many bytes they may hold. Safe from any thread."""

    def __init__(self, calls: int, size: int) -> None:
        self._lock = threading.Lock()
        self._calls, self._bytes = calls, size

    def enter(self, size: int) -> Callable[[], None]:
        """Take a place; what gives it back. Raises ServingError FULL."""
        with self._lock:
            if self._calls < 1 or self._bytes < size:
                raise ServingError(ErrorCode.FULL, "too many loads are waiting, try again later")
            self._calls, self._bytes = self._calls - 1, self._bytes - size
        return lambda: self._leave(size)

    def _leave(self, size: int) -> None:
        with self._lock:
            self._calls, self._bytes = self._calls + 1, self._bytes + size


class RepositoryControl:
    """Loading and unloading by call, as far as the settings allow it."""

    def __init__(self, commander: Commander, gate: Gate, settings: Settings) -> None:
        self._commander = commander
        self._gate = gate
        self._polls_only = settings.model_control == "poll"
        self._uploads = settings.control.uploads
        self._pending = Pending(MAX_PENDING, settings.process_bytes)
        # Of a load call: with uploads it may carry a whole model.
        self.max_body_bytes = settings.limits.max_message_bytes if self._uploads else MAX_BODY_BYTES

    @property
    def works(self) -> bool:
        """Whether any call may pass."""
        return not (self._polls_only or self._gate.shut)

    def admit(self, headers: Mapping[str, str]) -> None:
        """To be asked before the body is looked at. Raises ServingError."""
        self._gate.check(headers)
        if self._polls_only:
            raise refuse_load()

    def load(self, name: str, parameters: Parameters, size: int) -> Commanded:
        """Begin a load; ``size``: the call's bytes, held until it ends. Raises ServingError."""
        command = load_command(name, parameters, uploads=self._uploads)
        release = self._pending.enter(size + sum(map(len, command.files.values())))
        try:
            return Commanded(self._commander.command(command, _BY), release)
        except BaseException:
            release()
            raise

    def unload(self, name: str, parameters: Parameters) -> Commanded:
        """Begin an unload; answered once the model takes no requests any more, while its last
        ones may run. Raises ServingError."""
        # How many may wait is the commander's to say.
        ticket = self._commander.command(unload_command(name, parameters), _BY)
        return Commanded(ticket, lambda: None, begun=True)


def refuse_load() -> ServingError:
    """Loading by call is for a server that does not only follow its directories."""
    return ServingError(ErrorCode.UNAVAILABLE, NOT_ALLOWED)


def load_command(name: str, parameters: Parameters, *, uploads: bool) -> LoadModel:
    """Raises ServingError for parameters that say nothing a load can do."""
    version, override, files = None, None, {}
    for key, value in parameters.items():
        if key == "config":
            override = _override(name, value)
        elif key == "version":
            version = _version(value)
        elif key.startswith(FILE):
            files[key.removeprefix(FILE)] = value
        else:
            raise _bad(f"unrecognized load parameter '{shown(key)}'.")
    if files and not uploads:
        raise ServingError(
            ErrorCode.PERMISSION_DENIED, "this server takes no files (setting control.uploads)"
        )
    if files and override is None:
        raise _bad(f"failed to load '{shown(name)}', 'file:' parameters need a 'config' parameter")
    return LoadModel(name, version, override, _checked(name, files))


def _checked(name: str, files: Mapping[str, object]) -> dict[str, bytes]:
    try:
        return check_files(files)
    except ServingError as error:
        raise _bad(_not_polled(name, error.message)) from None


def _not_polled(name: str, words: str) -> str:
    """As Triton's clients look for it."""
    return f"failed to load '{shown(name)}', failed to poll from model repository: {words}"


def unload_command(name: str, parameters: Parameters) -> UnloadModel:
    """Raises ServingError. ``unload_dependents`` has no effect: no model depends on another."""
    version = None
    for key, value in parameters.items():
        if key == "version":
            version = _version(value)
        elif key != "unload_dependents":
            raise _bad(f"unrecognized unload parameter '{shown(key)}'.")
        elif not isinstance(value, bool):
            raise _bad("parameter 'unload_dependents' must be true or false")
    return UnloadModel(name, version)


def _override(name: str, value: object) -> ModelConfig:
    if not isinstance(value, str):
        raise _bad("parameter 'config' must be a string with JSON in it")
    try:
        return read_triton_json(value, name)
    except ConfigError as error:
        raise _bad(_not_polled(name, f"the configuration in the request: {error}")) from None


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        raise _bad("parameter 'version' must be a positive integer")
    # Strict as text; a number that came as one has no other form.
    number = parse_version(str(value))
    if number is None:
        raise _bad("parameter 'version' must be a positive integer")
    return number


def is_overtaken(command: Command, outcome: Outcome) -> bool:
    """Whether it is an unload that a newer command took the place of: nobody waits for its end."""
    return isinstance(command, UnloadModel) and outcome.message == SUPERSEDED


def explain(command: Command, outcome: Outcome) -> ServingError:
    """A command's failure in the words that Triton's clients look for."""
    what = "unload" if isinstance(command, UnloadModel) else "load"
    if outcome.message == SUPERSEDED:
        return ServingError(ErrorCode.UNAVAILABLE, SUPERSEDED)
    if outcome.code is ErrorCode.NOT_FOUND:
        return ServingError(
            ErrorCode.NOT_FOUND,
            f"failed to {what} '{shown(command.model)}', failed to poll from model repository: "
            f"{outcome.message}",
        )
    return ServingError(outcome.code or ErrorCode.INTERNAL, outcome.message)


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)
