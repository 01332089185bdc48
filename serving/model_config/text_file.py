"""Files of text beside a model's versions: bounded, regular, UTF-8."""

from __future__ import annotations

from pathlib import Path

from serving.errors import ConfigError
from serving.user_files import NotRegularError, TooLargeError, read_file


def read_text(path: Path, most: int) -> str:
    """Its whole content, of at most ``most`` bytes.

    Raises ConfigError, in words for the operator that name the file and no path.
    """
    content = _read(path, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name} line {line}: not valid UTF-8") from None


def _read(path: Path, most: int) -> bytes:
    try:
        return read_file(path, most)
    except NotRegularError:
        raise ConfigError(f"{path.name} is not a regular file") from None
    except TooLargeError:
        raise ConfigError(f"{path.name} is larger than {most} bytes") from None
    except OSError as error:
        raise ConfigError(f"{path.name} cannot be read: {error.strerror}") from None
