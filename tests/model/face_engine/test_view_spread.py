"""Farthest-point order: the first k are well spread for every k."""

import numpy as np
import pytest

from model.face_engine.rotations import rotation_from_angles
from model.face_engine.view_spread import expression_gaps, farthest_first, pose_gaps_deg

YAWS = np.arange(-80.0, 81.0, 10.0)
GAPS = pose_gaps_deg(rotation_from_angles(YAWS, 0, 0))
ALIKE = np.ones(len(YAWS))


def test_gaps_are_angles_and_lacks_of_likeness() -> None:
    assert GAPS[0] == pytest.approx(np.arange(0, 161, 10), abs=1e-6)
    units = np.array([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]])
    assert expression_gaps(units) == pytest.approx(np.array([[0, 0.4, 2], [0.4, 0, 1.6], [2, 1.6, 0]]))


@pytest.mark.parametrize("most", [1, 2, 3, 5, 9])
def test_every_beginning_covers_what_so_few_can(most: int) -> None:
    """No view is farther from the first k than the k-th is from those before it: twice the best that k can do at most."""
    order = farthest_first(GAPS, [8], 17, ALIKE, 5.0)
    covered = GAPS[:, order[:most]].min(axis=1).max()
    assert order[0] == 8
    assert order[:most] == farthest_first(GAPS, [8], most, ALIKE, 5.0)
    if most > 1:
        assert covered <= GAPS[order[most - 1], order[: most - 1]].min()


def test_the_second_is_the_farthest_and_not_the_next() -> None:
    assert [YAWS[n] for n in farthest_first(GAPS, [8], 5, ALIKE, 5.0)] == [0, -80, 80, -40, 40]


def test_of_equally_far_ones_the_best_is_taken_and_of_equally_good_ones_the_first() -> None:
    quality = ALIKE.copy()
    quality[15] = 2  # 70 degrees: within a step of 80
    assert [YAWS[n] for n in farthest_first(GAPS, [8], 2, quality, 15.0)] == [0, 70]
    assert [YAWS[n] for n in farthest_first(GAPS, [8], 2, ALIKE, 15.0)] == [0, -80]


def test_what_is_nearer_than_a_step_is_left_out() -> None:
    assert len(farthest_first(GAPS, [8], 17, ALIKE, 15.0)) == 9
    assert farthest_first(np.zeros((3, 3)), [1], 3, np.ones(3), 0.1) == [1]
