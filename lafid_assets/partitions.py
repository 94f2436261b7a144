"""Clip shards: the one way in which the clips are partitioned.

Belongs here: Dagster's partitions definition and how a shard is named. Not here: which clips are in a shard (`ingest.shards`).
"""

import dagster as dg

CLIP_SHARDS = dg.DynamicPartitionsDefinition(name="clip_shards")
