"""How many clips failed, in all and in each step?"""

from collections.abc import Callable

import polars as pl

from lafid_assets.checks.bounds import CheckBounds
from lafid_assets.checks.errors import error_share

Funnel = Callable[..., pl.DataFrame]


def test_few_errors_pass_and_are_counted_step_by_step(funnel: Funnel) -> None:
    ended = [("error", "face_clips", "crashed", 1), ("timeout", "speech_info", "deadline", 1), ("kept", "", "", 198)]
    passed, said, figures = error_share(funnel(*ended), CheckBounds())
    assert passed
    assert said == "2 of 200 clips failed"
    assert (figures["clips_failed"], figures["error_rate"]) == (2, 0.01)
    assert (figures["error_rate_face_info"], figures["error_rate_speech_info"]) == (1 / 200, 1 / 199)
    assert figures["error_rate_raw_clips"] == 0


def test_a_step_that_fails_often_is_named_although_few_clips_reach_it(funnel: Funnel) -> None:
    ended = [("rejected", "pose_filtered_clips", "no_face", 990), ("error", "speech_info", "crashed", 5), ("kept", "", "", 5)]
    passed, said, figures = error_share(funnel(*ended), CheckBounds())
    assert not passed
    assert "speech_info 50.0%" in said
    assert figures["error_rate"] == 0.005
    assert error_share(funnel(*ended), CheckBounds(most_error_share=0.5)).passed


def test_errors_spread_over_the_steps_count_together(funnel: Funnel) -> None:
    steps = ("raw_clips", "face_clips", "pose_filtered_clips")
    ended = [*(("error", step, "crashed", 1) for step in steps), ("kept", "", "", 97)]
    assert not error_share(funnel(*ended), CheckBounds()).passed


def test_nothing_came_in(funnel: Funnel) -> None:
    passed, said, figures = error_share(funnel(), CheckBounds())
    assert (passed, figures) == (True, {})
    assert "nothing to judge" in said


def test_a_step_that_no_clip_reached_has_no_figure(funnel: Funnel) -> None:
    _, _, figures = error_share(funnel(("error", "raw_clips", "crashed", 3)), CheckBounds())
    assert "error_rate_face_info" not in figures
