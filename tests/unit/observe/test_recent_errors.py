"""The last errors of each model, bounded whatever clients send."""

from __future__ import annotations

from serving.observe.recent_errors import KEPT, MOST_MODELS, RecentErrors


def failed(model: str, message: str, **more: object) -> dict[str, object]:
    return {"event": "request_failed", "at": 1.5, "model": model, "message": message, **more}


def test_the_last_ones_are_kept_the_newest_first() -> None:
    errors = RecentErrors(lambda name: name == "m")
    for number in range(KEPT + 5):
        errors.note(failed("m", str(number), word="internal", protocol="grpc", request_id="r"))
    errors.note({"event": "request", "model": "m", "message": "another matter"})
    found = errors.of("m")
    assert [one.message for one in found] == [str(n) for n in range(KEPT + 4, 4, -1)]
    assert (found[0].at, found[0].word, found[0].protocol) == (1.5, "internal", "grpc")


def test_long_messages_are_cut_and_names_that_no_model_has_are_not_kept() -> None:
    errors = RecentErrors(lambda name: name == "m")
    errors.note(failed("m", "x" * 100_000))
    assert len(errors.of("m")[0].message) == 512
    errors.note(failed("made up", "x"))
    errors.note(failed("", "x"))
    assert errors.of("made up") == ()
    assert list(errors._models) == ["m"]


def test_models_that_failed_last_are_kept() -> None:
    errors = RecentErrors(lambda _: True)
    for number in range(MOST_MODELS + 1):
        errors.note(failed(f"m{number}", "x"))
    assert errors.of("m0") == ()
    assert errors.of(f"m{MOST_MODELS}") != ()
