"""Clip shards: the one way in which the clips are partitioned.

Belongs here: Dagster's partitions definition and how a shard is named. Not here: which clips are in a shard (`ingest.shards`).
"""

import warnings

import dagster as dg

# Several shards a run is what this project is built on, and Dagster itself names owners when it copies a sensor. That it calls
# both beta is nobody's concern at every start.
warnings.filterwarnings("ignore", "Parameter `(backfill_policy|owners)`", dg.BetaWarning)

CLIP_SHARDS = dg.DynamicPartitionsDefinition(name="clip_shards")
MOST_SHARDS_PER_RUN = 8
"""A launched run costs some seconds before it begins; shards that share one pay them together."""
