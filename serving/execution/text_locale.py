"""The locale that onnxruntime's text operators ask the system for, and how to get it."""

from __future__ import annotations

import locale

# Of StringNormalizer, unless the model names another: what scikit-learn's vectorizers become.
USUAL = "en_US.UTF-8"


def is_there(name: str = USUAL) -> bool:
    """Whether the system has it. Not for a process that serves: its own locale changes for a
    moment."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def missing(name: str) -> str:
    return (
        f"the model needs the locale {name}, which is missing here: {how_to_get(name)}, then load"
        " it again"
    )


def how_to_get(name: str = USUAL) -> str:
    language, _, charmap = name.partition(".")
    return (
        f"as root, localedef -i {language} -f {charmap or 'UTF-8'} {name}"
        " (Debian, Ubuntu: after apt-get install locales)"
    )
