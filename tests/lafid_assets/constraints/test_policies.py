"""Bounds of the policy, policies by name and file, changes by text."""

from pathlib import Path

import pytest

from lafid_assets.constraints.policies import POLICIES, RULES, FacePolicy, PolicyUnusable, change_policy, load_policy
from lafid_assets.schemas import POSE_FILTERED_CLIPS, RAW_CLIPS


@pytest.mark.parametrize(
    "changed",
    [
        {"face_frame_share_min": 1.1},
        {"prominent_area_ratio": 0},
        {"range_percentile": 50},
        {"posed_frames_min": 0},
        {"pose_variation_min_deg": -1},
        {"unheard_of": 1},
    ],
)
def test_nonsense_is_refused_by_name(changed: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        FacePolicy(**changed)


def test_every_threshold_says_what_it_is() -> None:
    assert all(field.description for field in FacePolicy.model_fields.values())


def test_every_rule_names_a_stored_measure_and_a_field() -> None:
    stored = {*POSE_FILTERED_CLIPS.dtypes, *RAW_CLIPS.dtypes}
    assert {rule.measure for rule in RULES} <= stored
    assert {rule.threshold for rule in RULES if isinstance(rule.threshold, str)} <= set(FacePolicy.model_fields)


def test_shipped_policies_bear_their_names() -> None:
    assert [policy.name for policy in POLICIES.values()] == list(POLICIES)
    assert load_policy("faithfulfaces").pose_variation_min_deg == 120


def test_own_policy_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "strict.toml"
    file.write_text("pose_variation_min_deg = 90\n")
    assert load_policy(str(file)) == FacePolicy(name="strict", pose_variation_min_deg=90)


@pytest.mark.parametrize(
    ("content", "message"),
    [("pose_variation_min_deg = -1", "pose_variation_min_deg"), ("pose = ", "is no TOML"), ("unheard_of = 1", "unheard_of")],
)
def test_faulty_file_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "own.toml"
    file.write_text(content)
    with pytest.raises(PolicyUnusable, match=rf"own.toml.*{message}"):
        load_policy(str(file))


def test_unknown_policy_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(PolicyUnusable, match="no policy 'coffee': choose cofe, .*faithfulfaces"):
        load_policy("coffee")


def test_changes_are_read_from_text_and_leave_a_mark_on_the_name() -> None:
    changed = change_policy(FacePolicy(), {"pose_variation_min_deg": "90", "sharpness_min": "none", "faces_in_frame_max": "2"})
    assert (changed.pose_variation_min_deg, changed.sharpness_min, changed.faces_in_frame_max) == (90.0, None, 2)
    assert changed.name == "cofe+"


@pytest.mark.parametrize("change", [{"pose_variation": "90"}, {"pose_variation_min_deg": "much"}, {"sharpness_min": "-1"}])
def test_impossible_change_is_refused_by_name(change: dict[str, str]) -> None:
    with pytest.raises(PolicyUnusable, match=next(iter(change))):
        change_policy(FacePolicy(), change)
