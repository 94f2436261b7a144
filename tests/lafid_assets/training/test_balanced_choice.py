"""Persons take turns, then what was taken least; farther turns first among equals."""

from lafid_assets.training.balanced_choice import Candidate, take_turns

CLIPS = [
    Candidate("a1", "a", ("yaw_40_60", "kept")),
    Candidate("a2", "a", ("yaw_0_20", "kept")),
    Candidate("b1", "b", ("yaw_40_60", "kept")),
    Candidate("b2", "b", ("yaw_0_20", "kept")),
    Candidate("b3", "b", ("yaw_0_20", "changed")),
    Candidate("c1", "c", ("yaw_unknown", "kept")),
]


def _order(candidates: list[Candidate], most: int = 9) -> list[str]:
    return [chosen.clip_id for chosen in take_turns(candidates, most)]


def test_nobody_comes_again_before_all_others_and_poses_then_expressions_are_evened_out() -> None:
    # a1 turns farthest; b's clips of a pose not yet taken, of these the one of the other expression; c; then the second round.
    assert _order(CLIPS) == ["a1", "b3", "c1", "b1", "a2", "b2"]


def test_a_smaller_number_gives_the_first_of_them() -> None:
    for most in range(7):
        assert _order(CLIPS, most) == _order(CLIPS)[:most]


def test_of_equals_the_order_that_was_given_decides() -> None:
    alike = [Candidate(name, name, ("yaw_0_20",)) for name in "cab"]
    assert _order(alike) == ["c", "a", "b"]
    same_person = [Candidate(name, "x", ("yaw_0_20",)) for name in "zy"]
    assert _order(same_person) == ["z", "y"]


def test_why_counts_what_was_taken_before() -> None:
    whys = [chosen.why for chosen in take_turns(CLIPS, 4)]
    assert whys[0] == "clip 1 of its person; before it yaw_40_60 was taken 0 times, kept was taken 0 times"
    assert whys[3] == "clip 2 of its person; before it yaw_40_60 was taken 1 times, kept was taken 2 times"
