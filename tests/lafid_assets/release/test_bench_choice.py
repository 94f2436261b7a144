"""Which clips are asked for and which pictures come into question, from rows alone."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from lafid_assets.release.bench_choice import (
    Expression,
    Moment,
    choose_cases,
    choose_persons,
    choose_strangers,
    reached,
    sharpest_frontal,
)
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
    strangers = choose_strangers(world.dataset, 3)
    assert strangers[0].identity_id == "person-7"
    assert len({stranger.identity_id for stranger in strangers}) == 3
    assert [len(stranger.pictures) for stranger in strangers] == [4, 4, 4]
    assert choose_strangers(world.dataset, 0) == choose_strangers(world.dataset, -1) == []
    assert len(choose_strangers(world.dataset, 99)) == 4


def test_a_reference_that_was_not_cut_is_no_picture(painted: Painted) -> None:
    world = painted(PaintedClip("a", 0, references=()))
    cases = choose_cases(world.dataset, world.faces, 1, 0)
    assert [person.pictures for person in choose_persons(world.dataset, cases)] == [()]


@pytest.mark.parametrize(("yaws", "sharpness", "first"), [((40, 2, -9, 13), (9, 1, 5, 8), 2), ((70, 65), (1, 2), 1)])
def test_the_sharpest_of_the_frontal_ones_comes_first(yaws: list[int], sharpness: list[int], first: int) -> None:
    assert sharpest_frontal(np.array(yaws, float), np.array(sharpness, float)) == first
