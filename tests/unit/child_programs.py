"""Programs that have children, to be killed."""

from __future__ import annotations

MODULE = "tests.unit.child_modules"


def program(way: str, then: str) -> str:
    """Python that goes on with ``then`` once ``child`` is there. ``way``: ``spawned`` or
    ``forked``. It logs nothing."""
    return (
        "import os, signal, sys, threading, time\n"
        "import structlog\n"
        "from serving.execution.isolation.parent import starting\n"
        "from serving.execution.isolation.parent.process import Child\n"
        "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))\n"
        f"{way!r} == 'forked' and starting.use_template([{MODULE!r}])\n"
        f"child = Child({MODULE!r}, name='test')\n"
        f"{then}"
    )
