"""What commands decided, and what callers rely on, as an earlier process kept it."""

from __future__ import annotations

from serving.events import log
from serving.models.desired.overrides import PARTS, Documents, Mode, Overrides, from_document
from serving.models.desired.signatures import Signatures
from serving.state_dir import StateDir

# Names of documents in the state directory; of the first kind a folder of parts, and one that
# earlier versions wrote.
OVERRIDES = "models"
SIGNATURES = "signatures"


def read_overrides(state: StateDir | None, mode: Mode) -> dict[str, Overrides]:
    overrides: dict[str, Overrides] = {}
    for name in (OVERRIDES, *(f"{OVERRIDES}/{part}" for part in PARTS)):
        found, wrong = from_document(state.read(name) if state is not None else None, mode)
        overrides |= found
        for words in wrong:
            log.warning("state_ignored", name=name, reason=words)
    return overrides


def is_former(state: StateDir | None) -> bool:
    """Whether there is a document of earlier versions, in place of parts."""
    return state is not None and state.read(OVERRIDES) is not None


def write_overrides(state: StateDir, documents: Documents) -> None:
    """What changed of them; also in place of a document of earlier versions."""
    if former := is_former(state):
        documents.change_all()
    for part, document in documents.take_changed().items():
        state.write(f"{OVERRIDES}/{part}", document)
    if former:
        state.remove(OVERRIDES)


def read_signatures(state: StateDir | None) -> Signatures:
    try:
        return Signatures(state.read(SIGNATURES) if state is not None else None)
    except ValueError as error:
        log.warning("state_ignored", name=SIGNATURES, reason=str(error))
        return Signatures()
