"""Bounds of the policy."""

import pytest

from lafid_assets.constraints.policies import FacePolicy


@pytest.mark.parametrize(
    "changed",
    [
        {"min_face_frame_share": 1.1},
        {"prominent_area_ratio": 0},
        {"range_percentile": 50},
        {"min_posed_frames": 0},
        {"min_pose_variation_deg": -1},
        {"unheard_of": 1},
    ],
)
def test_nonsense_is_refused_by_name(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        FacePolicy(**changed)


def test_every_threshold_says_what_it_is() -> None:
    assert all(field.description for field in FacePolicy.model_fields.values())
