"""The proof of batching against the zoo: nothing coupled is proven, all independent is."""

from __future__ import annotations

import pytest

from . import harness
from .build import Entry
from .coupled_zoo import COUPLED
from .independent_zoo import INDEPENDENT

# Independent and yet not proven: why.
NOT_PROVEN: dict[str, str] = {
    "scan_over_rows_that_remembers_nothing": "Scan over rows counts as coupled",
}


@pytest.mark.parametrize("entry", COUPLED, ids=[one.name for one in COUPLED])
def test_no_model_whose_rows_meet_is_proven(entry: Entry) -> None:
    found = harness.verdict(entry.bytes())
    assert found.kind != "proven"
    assert found.words  # It says where and why.


@pytest.mark.parametrize("entry", INDEPENDENT, ids=[one.name for one in INDEPENDENT])
def test_a_model_whose_rows_are_independent_is_proven(entry: Entry) -> None:
    found = harness.verdict(entry.bytes())
    assert (found.kind != "proven") == (entry.name in NOT_PROVEN), found.words
