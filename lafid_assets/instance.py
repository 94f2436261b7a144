"""Dagster's instance of an installation: it takes no shard that the lake does not hold.

Belongs here: what the "Add partition" dialog and every other caller may add, and whether it launches its runs elsewhere. Not
here: how files become shards (`ingest.registration`), storage (`resources.dagster_storage`).

The UI offers that dialog for every dynamic partition. A shard typed there would count as missing for ever: it has no clips.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from lafid_assets.partitions import CLIP_SHARDS
from resources.settings import Settings

HOW_SHARDS_ARE_MADE = "shards are made of files: put clips into the drop folder and switch clip_drop on, or run `lafid curate`"


class Instance(dg.DagsterInstance):
    """Named in `dagster.yaml` as `instance_class`; holds for SQLite and Postgres storage."""

    @classmethod
    def config_schema(cls) -> Mapping[str, Any]:
        """`dagster.yaml` needs no lines more than Dagster's own."""
        return {}

    @classmethod
    def config_defaults(cls, base_dir: str) -> Mapping[str, Any]:
        """Dagster's own."""
        return InstanceRef.config_defaults(base_dir)

    def add_dynamic_partitions(self, partitions_def_name: str, partition_keys: Sequence[str]) -> None:
        """As Dagster's.

        Raises:
            UserFacingGraphQLError: the lake holds no such shard; the UI shows the message as it is.
        """
        if partitions_def_name == CLIP_SHARDS.name:
            _refuse_unknown(partition_keys)
        super().add_dynamic_partitions(partitions_def_name, partition_keys)


def is_cluster(instance: dg.DagsterInstance) -> bool:
    """Whether runs are launched on other machines: by a run launcher that is not Dagster's own."""
    launcher = instance.get_ref().run_launcher_data if instance.is_persistent else None
    return launcher is not None and launcher.module_name.partition(".")[0] != "dagster"


def _refuse_unknown(shards: Sequence[str]) -> None:
    from lafid_assets.lake import open_lake  # every process of Dagster imports this module, and few ever add a shard
    from lafid_assets.schemas import CLIP_FILES

    lake = open_lake(Settings.from_environment(), read_only=True)
    try:
        held = {shard for _, shard in lake.stamps([CLIP_FILES.name])} if lake.is_there() else set()
    finally:
        lake.close()
    if unknown := sorted(set(shards) - held):
        from dagster_graphql.implementation.utils import UserFacingGraphQLError
        from dagster_graphql.schema.errors import GrapheneUnauthorizedError

        raise UserFacingGraphQLError(
            GrapheneUnauthorizedError(message=f"no clips are in a shard {unknown[0]}: {HOW_SHARDS_ARE_MADE}")
        )
