"""What the admin port answers to commands about rollouts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from serving.control.rollouts import RolloutApi
from serving.delivery.requested import Start
from tests.unit.delivery.rig import Rig


def test_a_version_that_cannot_be_loaded_is_told_of_by_its_rollout(tmp_path: Path) -> None:
    """The command's own way is done: what failed is the version, which is rolled back for it."""
    rig = Rig(tmp_path)
    rig.world.errors["m/3"] = RuntimeError("it is broken")
    rig.publish(3)
    given = rig.rollouts.begin(Start("m", 3))
    rig.world.change()
    (ticket,) = given.tickets
    outcome = ticket.wait(0)
    assert outcome is not None
    assert not outcome.ok
    rig.turn()
    api = RolloutApi(rig.rollouts, rig.world.manager)
    answer = asyncio.run(api._answer(given, 0.0))
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["done"]) == (200, True)
    assert told["rollout"]["phase"] == "rolled back"
    assert told["rollout"]["reason"].startswith("version 3 can't answer: ")
