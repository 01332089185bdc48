"""What ``serving start`` says of models: changes, progress and the summary."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from serving.cli.news import News, Progress, answering, failed, few, left_out
from serving.cli.telling import _control_words
from serving.models.reasons import Absence
from serving.models.state import State
from serving.models.views import Changes, ModelView, Route, UnloadedVersion, VersionView
from serving.settings import Settings
from tests.unit.protocol_views import failed as failed_version
from tests.unit.protocol_views import model, version


def texts(news: News, *views: ModelView) -> list[str]:
    """What is said where these models, and no others, are there."""
    gone: Changes = dict.fromkeys(news._before)
    return [line.text for line in news.lines({**gone, **{view.name: view for view in views}})]


def absent(name: str, why: Absence) -> ModelView:
    return replace(model(name, reason=why.value), own_reason=why.value, absence=why)


def loading(number: int, state: State = State.LOADING) -> VersionView:
    return version(number, state=state)


def test_each_version_is_told_of_once_when_it_is_ready_and_when_it_goes() -> None:
    news = News()
    assert texts(news, model("m", loading(1))) == []
    (ready,) = texts(news, model("m", version(1)))
    assert ready.startswith("m 1: ready on CPUExecutionProvider, 1 thread; unbatched: ")
    assert texts(news, model("m", replace(version(1), reason="a remark"))) == []
    assert texts(news, model("m")) == ["m 1: unloaded"]
    texts(news, model("m", version(2)))
    assert texts(news) == ["m 2: unloaded"]


def test_a_failure_is_told_once_however_often_it_is_tried_again() -> None:
    news = News()
    assert texts(news, model("m", failed_version(1, "no memory"))) == ["m 1: failed: no memory"]
    assert texts(news, model("m", loading(1))) == []
    assert texts(news, model("m", failed_version(1, "no memory"))) == []
    assert texts(news, model("m", failed_version(1, "corrupt"))) == ["m 1: failed: corrupt"]


def test_another_answer_and_what_is_held_back_are_told() -> None:
    news, words = News(), "version 3 is held back: the model is pinned to version 2"
    first = model("m", version(2))
    texts(news, first)
    both = replace(model("m", version(2), version(3)), route=Route(2), reason=words)
    assert texts(news, both)[1:] == [f"m: {words}"]
    assert texts(news, both, model("n")) == []
    assert texts(news, replace(both, route=Route(3), reason="")) == [
        "m: version 3 answers now, before it 2"
    ]


def test_a_model_that_cannot_be_made_out_is_told_and_one_that_nobody_asked_for_is_not() -> None:
    words = "'v1' is no version's name: rename it to 1"
    asleep = absent("b", Absence.NOBODY_ASKED)
    pinned = replace(asleep, name="c", reason=f"{asleep.reason}; version 1 is pinned")
    views = (model("a", reason=words), asleep, pinned)
    assert texts(News(), *views) == [f"a: {words}"]
    assert failed(views) == ["a"]


def test_the_summary_names_what_answers_and_what_failed() -> None:
    views = (
        replace(model("a", version(1), version(2), failed_version(3, "bad")), pinned=2),
        model("b", failed_version(1, "bad"), reason="version 1 could not be loaded: bad"),
    )
    assert answering(views) == ["a 2 (pinned; also 1)"]
    assert failed(views) == ["a 3", "b 1"]
    assert few(["a", "b", "c"], 2) == "a, b and 1 more"


def test_progress_is_told_the_rarer_the_longer_it_takes() -> None:
    views = (model("m", version(1), loading(2), loading(3, State.NEW)),)
    progress = Progress(0.0)
    said = [now for now in range(120) if progress.standing(views, float(now))]
    assert said == [2, 4, 8, 16, 32, 62, 92]
    standing = Progress(0.0).standing(views, 12.0)
    assert standing is not None
    assert standing.words() == "loading for 12 s: 1 of 3 versions done; now m 2"
    assert Progress(0.0).standing((model("m", version(1)),), 12.0) is None


def test_the_progress_of_many_says_how_long_the_rest_may_take() -> None:
    done = [model(f"done{number}", version(1)) for number in range(400)]
    rest = [model(f"rest{number}", loading(1, State.NEW)) for number in range(1200)]
    standing = Progress(0.0).standing((*done, *rest), 4.0)
    assert standing is not None
    words = "loading for 4 s: 400 of 1,600 versions done, about 12 s left; now rest0 1, rest1 1,"
    assert standing.words().startswith(words)


def test_how_long_the_rest_may_take_goes_by_the_last_pace_where_enough_was_done_in_it() -> None:
    """The first seconds are the process's own start."""

    def views(done: int) -> tuple[ModelView, ...]:
        ready = [model(f"done{number:03}", version(1)) for number in range(done)]
        rest = [model(f"rest{number:03}", loading(1, State.NEW)) for number in range(100 - done)]
        return (*ready, *rest)

    progress = Progress(0.0)
    told = [progress.standing(views(done), now) for done, now in ((5, 3.0), (45, 6.0), (50, 12.0))]
    assert [one and one.left_s for one in told] == [None, 3.0 / 40 * 55, 12.0 / 50 * 50]


def test_what_is_kept_from_being_served_on_purpose_is_told_and_has_not_failed() -> None:
    pinned = (
        f"{Absence.NOBODY_ASKED}; version 1 is pinned and not ready (not loaded); nothing answers"
    )
    words = "the version policy is latest 1"
    by_policy = tuple(UnloadedVersion(n, words, Absence.BY_POLICY) for n in (1, 2))
    views = (
        absent("asleep", Absence.NOBODY_ASKED),
        replace(absent("both", Absence.NOBODY_ASKED), reason=pinned, own_reason=pinned, pinned=1),
        replace(model("out", reason="unloaded by command"), held_out=True),
        replace(model("m", version(3)), unloaded=by_policy),
        absent("none", Absence.BY_POLICY),
    )
    assert failed(views) == []
    assert [line.rpartition(": ")[2] for line in left_out(views)] == [
        "asleep, both",
        "out",
        "m 1, 2",
    ]
    assert left_out((model("m", version(1)),)) == []


def test_who_may_control_is_said_beside_the_admin_ports_address(tmp_path: Path) -> None:
    token = tmp_path / "token"
    assert _control_words(Settings()) == "/metrics, /api/v1/models"
    assert _control_words(Settings(admin_token_file=token)).endswith(f"with the token in {token}")
    assert "refused: no token" in _control_words(Settings(admin_host="0.0.0.0"))
