"""Which versions and aliases of MLflow's registry are followed."""

from __future__ import annotations

import pytest

from serving.errors import ConfigError
from serving.registry.mlflow.answers import (
    AnswerError,
    RegisteredModel,
    RegisteredVersion,
    model_versions,
    registered_model,
)
from serving.registry.mlflow.asked import AskedModel, asked_models, tag_rules
from serving.registry.mlflow.following import Followed, Known, follow, offline

ASKED = AskedModel("m", "champion")


def version(number: int, status: str = "READY", **tags: str) -> RegisteredVersion:
    return RegisteredVersion(number, status, tags=tags)


def followed(
    versions: list[RegisteredVersion],
    aliases: dict[str, int],
    *,
    asked: AskedModel = ASKED,
    rules: str = "",
    before: Known = Known(),  # noqa: B008 - it is frozen
    here: set[int] | None = None,
) -> Followed:
    model = RegisteredModel("m", aliases, (), "")
    words = rules.split(",") if rules else []
    known = here if here is not None else {one.number for one in versions}
    return follow(
        asked, model, versions, tag_rules(words, "s"), before, lambda one: one.number in known
    )


def test_what_the_alias_names_answers_and_every_alias_is_told() -> None:
    found = followed([version(1), version(2)], {"champion": 1, "challenger": 2})
    assert (found.answering, found.aliases) == ((1,), {"champion": 1, "challenger": 2})
    assert found.known.numbers == {1, 2}
    newest = followed([version(1), version(2)], {"champion": 1}, asked=AskedModel("m"))
    assert newest.answering is None
    fixed = followed([version(1), version(2)], {}, asked=AskedModel("m", version=1))
    assert fixed.answering == (1,)


@pytest.mark.parametrize(
    ("rules", "tags", "passes"),
    [
        ("check=passed", {"check": "passed"}, True),
        ("check=passed", {"check": "pending"}, False),
        ("check=passed", {}, False),
        ("check!=bad", {}, True),
        ("check!=bad", {"check": "bad"}, False),
        ("check", {"check": ""}, True),
        ("check", {}, False),
        ("!check", {}, True),
        ("!check", {"check": "x"}, False),
        ("a=1,b=2", {"a": "1", "b": "3"}, False),
        ("expression=a=b", {"expression": "a=b"}, True),
    ],
)
def test_a_version_is_taken_where_its_tags_pass_every_rule(
    rules: str, tags: dict[str, str], passes: bool
) -> None:
    found = followed([version(1, **tags)], {}, asked=AskedModel("m"), rules=rules)
    assert bool(found.known.versions) == passes
    assert bool(found.notes) == (not passes)


def test_an_alias_stays_while_what_it_names_is_not_taken() -> None:
    before = Known(aliases={"champion": 1})
    for target in (version(2, "PENDING_REGISTRATION"), version(3)):
        found = followed([version(1), target], {"champion": 2}, before=before)
        assert (found.answering, found.aliases) == ((1,), {"champion": 1})
        assert "it stays at version 1" in found.notes[0]
    gone = followed([version(1)], {"champion": 2})
    assert "alias 'champion' to be served" in gone.error
    assert "no version by its alias" in followed([version(1)], {}).error


def test_the_last_good_version_stays_wanted_until_the_next_one_has_been_here() -> None:
    versions = [version(1), version(2)]
    coming = followed(versions, {"champion": 2}, before=Known(good={"champion": 1}), here={1})
    assert (coming.answering, coming.known.good) == ((2, 1), {"champion": 1})
    assert coming.aliases == {"champion": 2}
    arrived = followed(versions, {"champion": 2}, before=coming.known, here={1, 2})
    assert (arrived.answering, arrived.known.good) == ((2,), {"champion": 2})


def test_fault_17_without_the_registry_what_is_here_is_served() -> None:
    known = Known((version(1), version(2)), {"champion": 2, "old": 1}, {"champion": 1})
    alone = offline(ASKED, known, lambda one: one.number == 1)
    assert (alone.answering, alone.aliases) == ((1,), {"champion": 1, "old": 1})
    both = offline(ASKED, known, lambda one: True)
    # It may be here and be no good: the one that was ready comes along.
    assert (both.answering, both.known.good) == ((2, 1), {"champion": 1})
    assert offline(ASKED, known, lambda one: False).error


def test_models_are_named_as_mlflows_uris_have_them() -> None:
    words = ["a", "b@champion", "models:/c/3", "d/latest", "e@latest", "f f@x"]
    assert asked_models(words, "s") == (
        AskedModel("a"),
        AskedModel("b", "champion"),
        AskedModel("c", version=3),
        AskedModel("d"),
        AskedModel("e"),
        AskedModel("f f", "x"),
    )
    for wrong in (["a", "a@b"], [""], ["@x"], ["a@"], ["a/b"], ["a/0"], ["a@b c"], [".a"]):
        with pytest.raises(ConfigError, match=r"^s: "):
            asked_models(wrong, "s")
    for rule in ("=x", "!", "!=x"):
        with pytest.raises(ConfigError, match="KEY=VALUE"):
            tag_rules([rule], "s")


def made_at(created: int) -> dict[str, object]:
    return {"name": "m", "version": "1", "creation_timestamp": created}


MODEL = {"name": "m", "latest_versions": [{"name": "m", "version": "2"}]}


def test_answers_are_held_against_their_form() -> None:
    read = registered_model(
        {"registered_model": {**MODEL, "aliases": [{"alias": "a", "version": "1"}]}}, "m"
    )
    assert (read.aliases, [one.number for one in read.latest]) == ({"a": 1}, [2])
    page = {"model_versions": [{"name": "m", "version": "1"}], "next_page_token": "t"}
    assert model_versions(page, "m") == ([RegisteredVersion(1)], "t")
    for wrong in (
        {},
        {"registered_model": {**MODEL, "name": "other"}},
        {"registered_model": {**MODEL, "aliases": {}}},
        {"registered_model": {**MODEL, "aliases": [{"alias": "a", "version": "-1"}]}},
        {"registered_model": {**MODEL, "aliases": [{"alias": "a", "version": "9" * 30}]}},
        {"registered_model": {**MODEL, "aliases": [{"alias": "a" * 300, "version": "1"}]}},
        {"registered_model": {**MODEL, "aliases": [{"alias": "a", "version": "1"}] * 100}},
        {"registered_model": {**MODEL, "latest_versions": [{"name": "x", "version": "1"}]}},
        *(
            {"registered_model": {**MODEL, "latest_versions": [made_at(created)]}}
            for created in (-1, 10**18, 10**400)
        ),
    ):
        with pytest.raises(AnswerError):
            registered_model(wrong, "m")


def test_a_version_that_was_made_anew_is_another_one() -> None:
    one = RegisteredVersion(1, source="models:/m-1", created=1)
    again = RegisteredVersion(1, source="models:/m-1", created=2)
    assert one.fingerprint("r", "m") != again.fingerprint("r", "m")
    tagged = RegisteredVersion(1, source="models:/m-1", created=1, tags={"a": "b"})
    assert one.fingerprint("r", "m") == tagged.fingerprint("r", "m")
