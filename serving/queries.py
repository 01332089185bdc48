"""What stands behind a path's ``?``, read strictly."""

from __future__ import annotations

from typing import TypeVar, get_origin

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from serving.errors import ErrorCode, ServingError

Query = TypeVar("Query", bound=BaseModel)


def query_of(request: Request, kind: type[Query]) -> Query:
    """What stands behind the path's ``?``. Raises ServingError for what ``kind`` does not have: a
    filter that is misspelt must not look like one that lets everything pass."""
    given, known = request.query_params, kind.model_fields
    if given.keys() - known.keys():
        names = ", ".join(f"'{name}'" for name in known)
        raise _bad(f"unknown query parameter: known are {names}")
    found: dict[str, object] = {}
    for name in given:
        several = given.getlist(name)
        if get_origin(known[name].annotation) is list:
            found[name] = several
        elif len(several) == 1:
            found[name] = several[0]
        else:
            raise _bad(f"'{name}' came more than once")
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise _bad(words_of(error)) from None


def words_of(error: ValidationError | RecursionError) -> str:
    """What is wrong with what came, for who sent it."""
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"] if isinstance(part, str))[:128]
    return f"'{place}': {first['msg']}" if place.isprintable() and place else str(first["msg"])


def _bad(words: str) -> ServingError:
    return ServingError(ErrorCode.BAD_REQUEST, words)
