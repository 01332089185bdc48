"""Finding what a request names. Which names and versions there can be, and the words for what
cannot be found, are the core's: the same as for inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol

from serving.errors import ErrorCode, ServingError
from serving.models.state import State
from serving.models.views import ModelView, VersionView

# No call so far has use for more; parsing it would hold the interpreter.
MAX_BODY_BYTES = 64 * 1024


class Directory(Protocol):
    """Where the models as they stand can be read; the manager is one."""

    def views(self) -> Sequence[ModelView]: ...

    def view(self, model: str) -> ModelView | None: ...


def find_model(directory: Directory, name: str) -> ModelView:
    """Raises ServingError NOT_FOUND, and BAD_REQUEST for a name that no model can have."""
    from serving import _core

    view = directory.view(name)
    if view is not None:
        return view
    with _refused():
        _core.check_model_length(name)
    raise unknown_model(name, directory.views())


def unknown_model(name: str, views: Sequence[ModelView]) -> ServingError:
    """With the nearest name, or all of them where they are few."""
    from serving import _core

    known = tuple(view.name for view in views)
    return ServingError(ErrorCode.NOT_FOUND, _core.unknown_model(name, known))


def find_version(view: ModelView, number: int | None) -> VersionView:
    """The READY version ``number``, or the one that answers unnamed requests.

    Raises ServingError: NOT_FOUND for a version that is not known, UNAVAILABLE for
    one that is not READY.
    """
    from serving import _core

    route = view.route
    wanted = route.default if number is None else number
    if wanted is None:
        _unavailable(_core.unavailable_model(view.name, route.reason or ""))
    for version in view.versions:
        if version.number == wanted and version.state is State.READY:
            return version
    if wanted in route.unavailable:
        _unavailable(_core.unready_version(view.name, wanted, route.unavailable[wanted]))
    on_disk = next((one.reason for one in view.unloaded if one.number == wanted), None)
    loaded = [version.number for version in ready_versions(view)]
    words = _core.unknown_version(view.name, wanted, on_disk, loaded)
    raise ServingError(ErrorCode.NOT_FOUND, words)


def ready_versions(view: ModelView) -> tuple[VersionView, ...]:
    return tuple(version for version in view.versions if version.state is State.READY)


def _unavailable(message: str) -> NoReturn:
    raise ServingError(ErrorCode.UNAVAILABLE, message)


def parse_version(text: str) -> int | None:
    """A version from a request: ``None`` where it is empty, else a positive integer.

    Raises ServingError BAD_REQUEST.
    """
    from serving import _core

    with _refused():
        return _core.parse_version(text)


def named_version(directory: Directory, name: str, text: str) -> int | None:
    """The number that ``text`` stands for: a version or an alias of the model ``name``; ``None``
    where it is empty. Of a model that there is not ``None`` for what could be an alias, so that
    the model is told of.

    Raises ServingError BAD_REQUEST.
    """
    from serving import _core

    view = directory.view(name)
    if view is not None:
        number = view.aliases.get(text)
        return parse_version(text) if number is None else number
    try:
        _core.check_alias(text)
    except ValueError:
        return parse_version(text)
    return None


def decode_name(raw: str) -> str:
    """A name out of a URL, percent-decoded once; what could be a path is refused.

    Raises ServingError BAD_REQUEST.
    """
    from serving import _core

    with _refused():
        return _core.decode_model_name(raw)


def check_name(name: str) -> str:
    """The name itself. Raises ServingError BAD_REQUEST where it is none or could be a path."""
    from serving import _core

    with _refused():
        _core.check_model_name(name)
    return name


@contextmanager
def _refused() -> Iterator[None]:
    """What the core refuses, in its words."""
    try:
        yield
    except ValueError as error:
        raise ServingError(ErrorCode.BAD_REQUEST, str(error)) from None


def check_size(body: bytes, limit: int = MAX_BODY_BYTES) -> None:
    """Raises ServingError TOO_LARGE for a body that is not worth parsing."""
    if len(body) > limit:
        raise ServingError(
            ErrorCode.TOO_LARGE, f"the body has {len(body)} bytes, this call takes at most {limit}"
        )


def shown(name: str) -> str:
    """A client's word as an error may repeat it: without control characters, and not long."""
    from serving import _core

    return _core.shown(name)
