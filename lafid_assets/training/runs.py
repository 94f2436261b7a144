"""Where trainings keep their states and checkpoints.

Belongs here: the folder in the store, and which checkpoints in it were trained on a dataset version. Not here: what a run writes
there (`model.training`).
"""

import json
from collections.abc import Collection

from resources.shard_store import ShardStore

RUNS_FOLDER = "training_runs"
_MANIFEST = "/lafid.json"


def checkpoints_trained_on(store: ShardStore, versions: Collection[str]) -> list[str]:
    """Folders in the store of all checkpoints, finished, averaged and kept on the way, of trainings on these dataset versions."""
    manifests = [path for path in store.list_tree(RUNS_FOLDER) if path.endswith(_MANIFEST)]
    return [
        path.removesuffix(_MANIFEST) for path in manifests if json.loads(store.read_bytes(path))["dataset_version"] in versions
    ]
