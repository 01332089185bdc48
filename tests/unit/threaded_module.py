"""A module that has a thread from its import on."""

from __future__ import annotations

import threading

threading.Thread(target=threading.Event().wait, daemon=True).start()


def main() -> None: ...
