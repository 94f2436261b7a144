"""Which clips are asked for and which pictures come into question, from rows alone."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from lafid_assets.release.bench_choice import (
    Expression,
    Moment,
    choose_cases,
    choose_persons,
    reached,
    sharpest_frontal,
    stranger_names,
    strangers_of,
)
from lafid_assets.schemas import LAFID_DATASET
from tests.lafid_assets.release.painted import PaintedClip, PaintedWorld

Painted = Callable[..., PaintedWorld]
STILL, OPEN = (0.1, 0.2, 0.4, 0.0), (0.1, 0.2, 0.4, 0.06)


def _moment(time_s: float, yaw_deg: float | None, expression: Expression | None = STILL) -> Moment:
    return Moment(time_s, round(10 * time_s), (0.0, 0.0, 1.0, 1.0), yaw_deg, expression)


def test_what_is_reached_is_counted_from_where_the_case_begins() -> None:
    moments = [_moment(0.0, -50.0, OPEN), _moment(0.8, 0.0), _moment(1.6, None, None), _moment(2.4, 32.0)]
    whole, later = reached(moments, 0.0), reached(moments, 0.8)
    assert (whole.yaw_deg, whole.yaw_bin, whole.expression_bin) == (50.0, "yaw_40_60", "expression_changed")
    assert (later.yaw_deg, later.yaw_bin, later.expression_bin) == (32.0, "yaw_20_40", "expression_kept")
    assert later.target_yaw_deg == tuple(2.0 * step for step in range(17))


def test_a_clip_without_pose_or_expression_says_so() -> None:
    found = reached([_moment(0.0, None, None), _moment(1.0, None, None)], 0.0)
    assert found == (None, "yaw_unknown", "expression_unknown", ())
    assert reached([], 0.0) == found
    assert reached([_moment(0.0, 5.0)], 0.0).expression_bin == "expression_unknown"


def test_persons_take_turns_and_poses_expressions_and_speech_are_spread(painted: Painted) -> None:
    world = painted(
        *(PaintedClip(f"far-{n}", n, yaws=(0.0, 50.0)) for n in range(3)),
        *(PaintedClip(f"front-{n}", n, yaws=(0.0, 5.0)) for n in range(3)),
        PaintedClip("smile", 0, yaws=(0.0, 5.0), smiles_from=1),
        PaintedClip("speaks", 1, yaws=(0.0, 5.0), speaking="on_screen"),
    )
    cases = choose_cases(world.dataset, world.faces, 6, 0)
    persons = [case.clip["identity_id"] for case in cases]
    assert sorted(persons[:3]) == sorted(persons[3:]) == ["person-0", "person-1", "person-2"]
    bins = Counter(reached(case.moments, 0.0).yaw_bin for case in cases)
    assert min(bins["yaw_40_60"], bins["yaw_0_20"]) >= 2
    assert {"smile", "speaks"} <= {case.clip["clip_id"] for case in cases}
    assert [case.clip["clip_id"] for case in choose_cases(world.dataset, world.faces, 2, 0)] == [
        case.clip["clip_id"] for case in cases[:2]
    ]


def test_the_seed_decides_among_equals_and_over_the_noise(painted: Painted) -> None:
    world = painted(*(PaintedClip(f"clip-{n}", n) for n in range(6)))
    first = choose_cases(world.dataset, world.faces, 6, 0)
    orders = {tuple(case.clip["clip_id"] for case in choose_cases(world.dataset, world.faces, 6, seed)) for seed in range(5)}
    assert len(orders) == 5
    assert len({case.seed for case in first}) == 6
    assert {case.clip["clip_id"]: case.seed for case in choose_cases(world.dataset.reverse(), world.faces, 3, 0)}.items() <= {
        case.clip["clip_id"]: case.seed for case in first
    }.items()
    assert all(0 <= case.seed < 2**31 for case in first)


def test_a_person_s_pictures_are_of_all_clips_frontal_and_sharp_first_and_at_most_24(painted: Painted) -> None:
    turning = tuple(float(yaw) for yaw in range(-60, 61, 5))
    world = painted(PaintedClip("a", 0, yaws=turning), PaintedClip("b", 0, yaws=(58.0, -58.0)), PaintedClip("c", 1))
    cases = choose_cases(world.dataset, world.faces, 3, 0)
    persons = {person.identity_id: person for person in choose_persons(world.dataset, cases)}
    pictures = persons["person-0"].pictures
    assert len(pictures) == 24
    assert {picture.clip_id for picture in pictures} == {"a", "b"}
    assert abs(pictures[0].yaw_deg) <= 10
    assert {abs(picture.yaw_deg) for picture in pictures[1:3]} <= {55.0, 58.0, 60.0}
    assert {picture.clip_id for picture in persons["person-1"].pictures} == {"c"}


def test_strangers_are_few_held_out_first_and_of_few_pictures(painted: Painted) -> None:
    world = painted(
        *(PaintedClip(f"t{n}", n, split="train", yaws=(0.0, 10.0, 20.0, 30.0, 40.0, 50.0)) for n in range(3)),
        PaintedClip("v", 7, split="validation"),
    )
    others = world.dataset.select("identity_id", "split")
    names = stranger_names(others, persons=3, most=32)
    assert names[0] == "person-7"
    assert len(set(names)) == 3
    assert stranger_names(others.reverse(), 4, 32) == names[:2] == stranger_names(others, 9, 4)
    assert stranger_names(others, 6, 32) == stranger_names(others, 7, 32) == stranger_names(others, 0, 32) == []
    assert len(stranger_names(others, 1, 32)) == 4
    strangers = strangers_of(world.dataset.filter(pl.col("identity_id").is_in(names)))
    assert [stranger.identity_id for stranger in strangers] == sorted(names)
    assert [len(stranger.pictures) for stranger in strangers] == [4, 4, 4]


def test_what_a_clip_shows_is_told_alike_before_and_after_the_choice(painted: Painted) -> None:
    world = painted(
        PaintedClip("a", 0, yaws=(None, 50.0, 80.0, 0.0, 20.0), smiles_from=4),
        PaintedClip("b", 1, yaws=(0.0, None, 44.0)),
        PaintedClip("c", 2, yaws=(80.0, 50.0)),
        PaintedClip("d", 3, yaws=(None, None)),
        PaintedClip("e", 4, yaws=(10.0,)),
    )
    found = {
        case.clip["clip_id"]: (reached(case.moments, 0.0), case.why) for case in choose_cases(world.dataset, world.faces, 9, 0)
    }
    assert len(found) == 5
    for clip_id, (shown, why) in found.items():
        assert f"{shown.yaw_bin} was taken" in why, clip_id
        assert f"{shown.expression_bin} was taken" in why, clip_id
    assert {shown.expression_bin for shown, _ in found.values()} == {
        "expression_changed",
        "expression_kept",
        "expression_unknown",
    }


def test_a_case_is_of_the_clip_s_window(painted: Painted) -> None:
    """Of that the caption tells; the turn before it is nothing that a case can ask for."""
    world = painted(PaintedClip("a", 0, yaws=(40.0, 0.0, 10.0, 20.0, 30.0)))
    times_s = [place["time_s"] for place in world.dataset["face_track"][0]]
    cut = world.dataset.with_columns(window_start_s=pl.lit(times_s[1]), window_end_s=pl.lit(times_s[3]))
    [whole], [case] = (choose_cases(dataset, world.faces, 1, 0) for dataset in (world.dataset, cut))
    assert [moment.yaw_deg for moment in whole.moments] == [40.0, 0.0, 10.0, 20.0, 30.0]
    assert [moment.yaw_deg for moment in case.moments] == [0.0, 10.0, 20.0]


def test_a_reference_that_was_not_cut_is_no_picture(painted: Painted) -> None:
    world = painted(PaintedClip("a", 0, references=()), PaintedClip("b", 1, yaws=(0.0, 20.0)))
    rows = world.dataset.to_dicts()
    rows[1]["references"][0] |= {"face_path": None, "head_path": None}
    dataset = LAFID_DATASET.frame(rows)
    found = choose_persons(dataset, choose_cases(dataset, world.faces, 2, 0))
    assert {person.identity_id: [one.yaw_deg for one in person.pictures] for person in found} == {
        "person-0": [],
        "person-1": [20.0],
    }


@pytest.mark.parametrize(("yaws", "sharpness", "first"), [((40, 2, -9, 13), (9, 1, 5, 8), 2), ((70, 65), (1, 2), 1)])
def test_the_sharpest_of_the_frontal_ones_comes_first(yaws: list[int], sharpness: list[int], first: int) -> None:
    assert sharpest_frontal(np.array(yaws, float), np.array(sharpness, float)) == first
