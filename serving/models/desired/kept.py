"""What commands decided, and what callers rely on, as an earlier process kept it."""

from __future__ import annotations

from serving.events import log
from serving.models.desired.overrides import Mode, Overrides, from_document
from serving.models.desired.signatures import Signatures
from serving.state_dir import StateDir

# Names of documents in the state directory.
OVERRIDES = "models"
SIGNATURES = "signatures"


def read_overrides(state: StateDir | None, mode: Mode) -> dict[str, Overrides]:
    if state is None:
        return {}
    found, wrong = from_document(state.read(OVERRIDES), mode)
    for words in wrong:
        log.warning("state_ignored", name=OVERRIDES, reason=words)
    return found


def read_signatures(state: StateDir | None) -> Signatures:
    try:
        return Signatures(state.read(SIGNATURES) if state is not None else None)
    except ValueError as error:
        log.warning("state_ignored", name=SIGNATURES, reason=str(error))
        return Signatures()
