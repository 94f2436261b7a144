"""How it was decided, in lines."""

import polars as pl
import pytest

from lafid_assets.constraints.policies import POLICIES
from lafid_assets.dataset.report_outcomes import decided_by


@pytest.mark.parametrize(("policy", "said"), [("cofe", False), ("faithfulfaces", True)])
def test_policies_models_and_licences(policy: str, said: bool) -> None:
    policies = pl.DataFrame({"policy_sha256": "sha", "settings": POLICIES[policy].model_dump_json(), "frames": [10.0]})
    engines = pl.DataFrame({"what": "dlib 20", "licence": "NC", "clips": [2]})
    sources = pl.DataFrame({"what": "a film", "licence": "CC0-1.0", "clips": [1]})
    lines = decided_by(policies, engines, sources, {"aesthetic_low": 2})
    told = dict(lines)
    assert [what for what, _ in lines] == [
        f"face policy {policy}",
        f"measured for {policy}",
        "not judged",
        "face engine",
        "kept from",
    ]
    asked = f"pose_variation_deg at least {POLICIES[policy].pose_variation_min_deg:g}"
    assert asked in told[f"face policy {policy}"]
    assert "luminance_min" not in told[f"face policy {policy}"], "rules that are off are not told"
    assert "10 frames a clip (median)" in told[f"measured for {policy}"]
    assert ("the paper measures every frame" in told[f"measured for {policy}"]) == said
    assert told["not judged"].startswith("aesthetic_low: 2 clips")
    assert told["face engine"] == "dlib 20 (licence: NC): 2 clips"
    assert told["kept from"] == "a film (licence: CC0-1.0): 1 clips"


def test_policy_under_which_no_frame_was_sampled() -> None:
    policies = pl.DataFrame({"policy_sha256": "sha", "settings": POLICIES["cofe"].model_dump_json(), "frames": [None]})
    nothing = pl.DataFrame(schema={"what": pl.String, "licence": pl.String, "clips": pl.Int64})
    assert dict(decided_by(policies, nothing, nothing, {}))["measured for cofe"].startswith("no frame, sampled evenly")
