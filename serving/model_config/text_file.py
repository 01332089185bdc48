"""Files of text beside a model's versions: bounded, regular, UTF-8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serving.errors import ConfigError
from serving.user_files import (
    LinkOutError,
    NotRegularError,
    TooLargeError,
    read_file,
    read_inside,
)


def read_text(path: Path, most: int) -> str:
    """Its whole content, of at most ``most`` bytes.

    Raises ConfigError, in words for the operator that name the file and no path.
    """
    return _text(path, most, lambda: read_file(path, most))


def read_text_inside(folder: Path, name: str, most: int) -> str:
    """As ``read_text``, of a file in a model's folder: what a link leads to elsewhere is neither
    read nor told."""
    return _text(folder / name, most, lambda: read_inside(folder, name, most))


def _text(path: Path, most: int, read: Callable[[], bytes]) -> str:
    content = _content(path, most, read)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name} line {line}: not valid UTF-8") from None


def _content(path: Path, most: int, read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except LinkOutError:
        raise ConfigError(f"{path.name} is a link that leaves the model's folder") from None
    except NotRegularError:
        raise ConfigError(f"{path.name} is not a regular file") from None
    except TooLargeError:
        raise ConfigError(f"{path.name} is larger than {most} bytes") from None
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from None
