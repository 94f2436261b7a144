"""How it was decided, in lines."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.constraints.policies import POLICIES
from lafid_assets.dataset.report_rules import decided_by
from lafid_assets.schemas import FACE_CLIPS, LAFID_DATASET, POSE_FILTERED_CLIPS

RowOf = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(("policy", "said"), [("cofe", False), ("faithfulfaces", True)])
def test_policies_models_and_licences(row_of: RowOf, policy: str, said: bool) -> None:
    settings = {"policy": policy, "policy_settings": POLICIES[policy].model_dump_json()}
    decided = [row_of(POSE_FILTERED_CLIPS, clip_id=clip, frames=frames, **settings) for clip, frames in (("a", 9), ("b", 11))]
    engine = {"engine": "dlib", "engine_version": "20", "engine_licence": "NC"}
    lines = decided_by(
        POSE_FILTERED_CLIPS.frame(decided),
        FACE_CLIPS.frame(row_of(FACE_CLIPS, clip_id=clip, **engine) for clip in "ab"),
        LAFID_DATASET.frame([row_of(LAFID_DATASET, clip_id="a", source="a film", licence="CC0-1.0")]),
    )
    told = dict(lines)
    assert [what for what, _ in lines] == [f"face policy {policy}", f"measured for {policy}", "face engine", "kept from"]
    asked = f"pose_variation_deg at least {POLICIES[policy].pose_variation_min_deg:g}"
    assert asked in told[f"face policy {policy}"]
    assert "luminance_min" not in told[f"face policy {policy}"], "rules that are off are not told"
    assert "10 frames a clip (median)" in told[f"measured for {policy}"]
    assert ("the paper measures every frame" in told[f"measured for {policy}"]) == said
    assert told["face engine"] == "dlib 20 (licence: NC): 2 clips"
    assert told["kept from"] == "a film (licence: CC0-1.0): 1 clips"
