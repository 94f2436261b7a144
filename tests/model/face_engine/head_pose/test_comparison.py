"""Whether two head pose models mean the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from model.face_engine.head_pose.comparison import MIN_FACES, compare
from model.face_engine.rotations import rotation_from_angles

POSES = np.random.default_rng(0).uniform(-40, 40, (MIN_FACES, 3))


@dataclass
class Told:
    """Reads yaw, pitch and roll off the box, times a factor each, plus noise."""

    factors: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blind_to: float | None = None
    name: str = "told"
    licence: str = "none"
    fingerprint: str = "told"

    def rotations(self, images_rgb: Sequence[np.ndarray], boxes: Sequence[tuple[float, ...]]) -> list:
        return [None if box[3] == self.blind_to else rotation_from_angles(*np.array(box[:3]) * self.factors) for box in boxes]


def _faces(count: int = MIN_FACES):
    return [(np.zeros((4, 4, 3), np.uint8), [(*pose, float(index))]) for index, pose in enumerate(POSES[:count])]


def test_equal_models_agree() -> None:
    found = compare(Told(), Told(), _faces())
    assert found.faces == MIN_FACES
    assert [agreement.angle for agreement in found.angles] == ["yaw", "pitch", "roll"]
    for agreement in found.angles:
        assert agreement.correlation == pytest.approx(1)
        assert agreement.mean_absolute_deg == pytest.approx(0, abs=1e-6)
    assert found.verdict == f"all three signs agree on {MIN_FACES} faces"


def test_opposite_signs_are_told_angle_by_angle() -> None:
    found = compare(Told(), Told((-1, 0.5, 1)), _faces())
    assert [agreement.signs for agreement in found.angles] == ["opposite", "agree", "agree"]
    assert found.angles[1].mean_absolute_deg == pytest.approx(np.abs(POSES[:, 1]).mean() / 2)
    assert found.verdict == f"signs on {MIN_FACES} faces: yaw opposite, pitch agree, roll agree"


def test_few_faces_decide_nothing() -> None:
    assert {agreement.signs for agreement in compare(Told(), Told(), _faces(MIN_FACES - 1)).angles} == {"undecided"}


def test_a_model_that_never_moves_has_no_correlation() -> None:
    yaw = compare(Told(), Told((0, 1, 1)), _faces()).angles[0]
    assert (yaw.correlation, yaw.signs) == (None, "undecided")


def test_a_face_counts_where_both_see_it() -> None:
    assert compare(Told(blind_to=3), Told(blind_to=7), _faces()).faces == MIN_FACES - 2


def test_no_face_at_all_is_said() -> None:
    with pytest.raises(ValueError, match="no face was found: give a folder of clips or images that show faces"):
        compare(Told(), Told(), [])
