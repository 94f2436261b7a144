"""Which checkpoints were trained on a dataset version."""

import json

from lafid_assets.training.runs import checkpoints_trained_on
from resources.shard_store import ShardStore


def test_all_checkpoints_of_a_version_are_found_wherever_a_run_keeps_them(store: ShardStore) -> None:
    of_version = {"a/checkpoint": "v1", "a/checkpoint_ema": "v1", "a/checkpoints/step-0000002": "v1", "b/checkpoint": "v2"}
    for folder, version in of_version.items():
        store.write_bytes(f"training_runs/{folder}/lafid.json", json.dumps({"dataset_version": version}).encode())
    store.write_bytes("training_runs/launches/k/job.json", b'{"dataset_version": "v1"}')
    found = checkpoints_trained_on(store, ["v1"])
    assert found == ["training_runs/a/checkpoint", "training_runs/a/checkpoint_ema", "training_runs/a/checkpoints/step-0000002"]
    assert checkpoints_trained_on(store, []) == []
