"""A training run says where it comes from before there is a model."""

import json
from collections.abc import Callable
from typing import Any

from lafid_assets.release.lineage import git_commit
from lafid_assets.schemas import DATASET_VERSIONS
from lafid_assets.training.fusion_dit import origin_tags
from model.presets import preset
from resources.lake.lake import Lake


def test_policies_are_those_that_decided_the_version(lake: Lake, row_of: Callable[..., dict[str, Any]]) -> None:
    decided = {"pose_filtered_clips": {"policy": ["cofe"], "fingerprint": ["f"]}, "speech_info": {"transcriber": ["small"]}}
    other = {"pose_filtered_clips": {"policy": ["faithfulfaces"]}}
    rows = [
        row_of(DATASET_VERSIONS, dataset_version=version, number=number, decided_by=json.dumps(tables))
        for number, (version, tables) in enumerate((("v1", decided), ("v2", other)), 1)
    ]
    lake.put({DATASET_VERSIONS.name: DATASET_VERSIONS.frame(rows)}, "all", "f")
    assert origin_tags(preset("tiny"), "v1", lake, "run-1") == {
        "lafid.dataset_version": "v1",
        "lafid.policy": "cofe",
        "lafid.git_commit": git_commit(),
        "lafid.preset": "tiny",
        "lafid.seed": "0",
        "dagster.run_id": "run-1",
    }


def test_version_that_nobody_kept_has_no_policy(lake: Lake) -> None:
    assert origin_tags(preset("tiny"), "v9", lake, "run-1")["lafid.policy"] == "none recorded"
