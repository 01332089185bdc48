"""What commands decided, and what callers rely on, as an earlier process kept it."""

from __future__ import annotations

from dataclasses import replace

from serving.events import log
from serving.models.desired.overrides import PARTS, Documents, Mode, Overrides, from_document
from serving.models.desired.signatures import Signatures
from serving.registry.aliases import why_no_alias
from serving.state_dir import StateDir

# Names of documents in the state directory; of the first kind a folder of parts, and one that
# earlier versions wrote.
OVERRIDES = "models"
SIGNATURES = "signatures"


def read_overrides(state: StateDir | None, mode: Mode) -> dict[str, Overrides]:
    overrides: dict[str, Overrides] = {}
    if state is None:
        return overrides
    # Where there is one of an earlier version, parts are not whole yet, or from before it.
    parts = [f"{OVERRIDES}/{part}" for part in PARTS]
    for name in [OVERRIDES] if state.holds(OVERRIDES) else parts:
        found, wrong = from_document(state.read(name), mode)
        odd = _take_wrong_aliases(found)
        overrides |= found
        for words in (*wrong, *odd):
            log.warning("state_ignored", name=name, reason=words)
    return overrides


def _take_wrong_aliases(found: dict[str, Overrides]) -> list[str]:
    """No route can be made with them; in words."""
    words = []
    for model, current in found.items():
        wrong = {alias: why for alias in current.aliases if (why := why_no_alias(alias))}
        if wrong:
            words += [f"{model}: {why}" for why in wrong.values()]
            aliases = {a: number for a, number in current.aliases.items() if a not in wrong}
            found[model] = replace(current, aliases=aliases)
    return words


def write_overrides(state: StateDir, documents: Documents) -> None:
    """What changed of them; also in place of a document of earlier versions."""
    if former := state.holds(OVERRIDES):
        documents.change_all()
    changed = documents.take_changed().items()
    written = [state.write(f"{OVERRIDES}/{part}", document) for part, document in changed]
    # Else it stays what is kept: the next time all are tried again.
    if former and all(written):
        state.remove(OVERRIDES)


def read_signatures(state: StateDir | None) -> Signatures:
    try:
        return Signatures(state.read(SIGNATURES) if state is not None else None)
    except ValueError as error:
        log.warning("state_ignored", name=SIGNATURES, reason=str(error))
        return Signatures()
