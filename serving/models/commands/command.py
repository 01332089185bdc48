"""What an operator may tell the manager, and how it answers.

A command is given to ``Manager.command``, which answers at once with a ticket: whoever gave it
waits, or asks to be called. A newer command for the same model ends an older one that is still
under way; its ticket says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from serving.errors import ErrorCode
from serving.model_config import ModelConfig

# Triton's words; its clients look for them.
SUPERSEDED = (
    "Newer operation has been applied to the model lifecycle, current load operation is out-dated."
)


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Load what is on disk now, files changed under a loaded version included.

    ``version`` None: what the model's version policy wants. ``override`` stands in for the
    configuration beside the versions until the next load without one. ``files``: "1/model.onnx"
    -> its bytes, instead of what is on disk; needs an ``override``. Done when every version
    asked for is READY or FAILED.
    """

    model: str
    version: int | None = None
    override: ModelConfig | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UnloadModel:
    """Let go of a version, or of all of them, the last one too. Done when they are gone."""

    model: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class SetDefault:
    """Answer unnamed requests with ``version`` from now on, loading it first where it is not;
    None: with the newest that is ready. Done when the route stands."""

    model: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """Answer with the version that answered before, and stay with it."""

    model: str


@dataclass(frozen=True, slots=True)
class AcceptVersion:
    """Let a version that was held back for its signature answer unnamed requests: later ones are
    compared with it. No pin. Done when it is ready."""

    model: str
    version: int


@dataclass(frozen=True, slots=True)
class BlessVersion:
    """Let a version take traffic whatever its gates say, or are about to say; ``reason``: a
    person's, which its verdict shows. Done when that stands."""

    model: str
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class SetAlias:
    """Have ``version``, which has to answer already, answer requests that name ``alias``, and stay
    loaded for it; None: there is no such alias any more. Done when the route stands."""

    model: str
    alias: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class SetRoute:
    """Divide the requests that name no version among the versions of ``weights``, keep a client on
    one by the value of what ``sticky`` names, and have ``shadows`` get copies; see ``Split``. None:
    that part stays as it is; {} and "" end it. ``base``, given with ``weights``, is the one of them
    that answers by default (None: that with the largest weight). Done when every version of it is
    ready, and its gates have blessed it where it has a weight.

    It is no pin: where one is set, that one answers.
    """

    model: str
    weights: Mapping[int, int] | None = None
    sticky: str | None = None
    shadows: Mapping[int, float] | None = None
    base: int | None = None


@dataclass(frozen=True, slots=True)
class FollowList:
    """Serve a model as the model config list says, whatever commands said of loading it before.
    Done as ``LoadModel`` is; what its labels name has to be ready, too."""

    model: str


Command = (
    LoadModel
    | UnloadModel
    | SetDefault
    | Rollback
    | AcceptVersion
    | BlessVersion
    | SetAlias
    | SetRoute
    | FollowList
)
# Characters of a reason.
LONGEST_REASON = 500
# What no alias can be.
_ROUTE = "/route"


def subject(command: Command) -> tuple[str, str]:
    """What a command is about: of two about the same the newer one takes the place of the older.
    Each alias is a matter of its own, so is how requests are divided, and the versions of a model
    together are one."""
    if isinstance(command, SetRoute):
        return command.model, _ROUTE
    return command.model, command.alias if isinstance(command, SetAlias) else ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """``code`` says what kind of failure ``message`` describes; None: it was done.

    ``version``: the one that answers unnamed requests now.
    """

    code: ErrorCode | None = None
    message: str = ""
    version: int | None = None

    @property
    def ok(self) -> bool:
        return self.code is None


class Ticket:
    """A command under way. Safe from any thread. ``by``: who gave it, in words, and ``reason``:
    why; "" where that is not known."""

    def __init__(self, command: Command, by: str = "", reason: str = "") -> None:
        self.command = command
        self.by = by
        self.reason = reason
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._outcome: Outcome | None = None
        self._listeners: list[Callable[[Outcome], None]] = []
        self._has_begun = False
        self._starters: list[Callable[[Outcome | None], None]] = []

    def wait(self, timeout: float | None = None) -> Outcome | None:
        """The outcome; None when it did not come within ``timeout`` seconds."""
        self._done.wait(timeout)
        return self._outcome

    def on_done(self, listener: Callable[[Outcome], None]) -> None:
        """Call ``listener`` once, from the thread that ends the command; at once if it ended."""
        with self._lock:
            outcome = self._outcome
            if outcome is None:
                self._listeners.append(listener)
        if outcome is not None:
            listener(outcome)

    def on_begun(self, listener: Callable[[Outcome | None], None]) -> None:
        """Call ``listener`` once, when what the command changes at once shows: what is unloaded
        takes no requests any more. With the outcome, where the command ended before that."""
        with self._lock:
            has_begun, outcome = self._has_begun, self._outcome
            if not has_begun:
                self._starters.append(listener)
        if has_begun:
            listener(outcome)

    def begin(self) -> None:
        """What the command changes at once shows now."""
        with self._lock:
            self._has_begun = True
            listeners, self._starters = self._starters, []
            outcome = self._outcome
        for listener in listeners:
            listener(outcome)

    def end(self, outcome: Outcome) -> bool:
        """The first outcome counts; False where there was one."""
        with self._lock:
            if self._outcome is not None:
                return False
            self._outcome = outcome
            listeners, self._listeners = self._listeners, []
            self._done.set()
        self.begin()
        for listener in listeners:
            listener(outcome)
        return True
