"""Clip shards: the one way in which the clips are partitioned.

Belongs here: Dagster's partitions definition, and which shards share a run. Not here: which clips are in a shard
(`ingest.registration`).
"""

import math
import warnings
from collections.abc import Collection, Mapping, Sequence

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG, PARTITION_NAME_TAG

# Several shards a run is what this project is built on, and Dagster itself names owners when it copies a sensor. That it calls
# both beta is nobody's concern at every start.
warnings.filterwarnings("ignore", "Parameter `(backfill_policy|owners)`", dg.BetaWarning)

CLIP_SHARDS = dg.DynamicPartitionsDefinition(name="clip_shards")
MOST_SHARDS_PER_RUN = 8
"""A launched run costs some seconds before it begins; shards that share one pay them together."""
CLIPS_THAT_PAY_FOR_A_START = 2000
"""A start is under a hundredth of a run's work: it takes about 9 CPU s (an empty run by Ray 5.7, LaFID's code 2.4, the lake), in
which the run's other CPUs wait. Four of them measure a clip, 2 CPU s for its faces alone, in half a second."""
MOST_RUNS_IN_QUEUE = 1000
"""Dagster's daemon reads all queued runs, whole, at each of its looks."""


def runs_of(stale: Collection[str], order: Sequence[str], most: int = MOST_SHARDS_PER_RUN) -> list[list[str]]:
    """Stale shards in the runs that take them: a run takes shards that follow each other, `most` of them at most.

    Args:
        order: all shards, as Dagster orders them.
    """
    runs: list[list[str]] = []
    follows = False
    for shard in order:
        if shard in stale and follows and len(runs[-1]) < most:
            runs[-1].append(shard)
        elif shard in stale:
            runs.append([shard])
        follows = shard in stale
    return runs


def shards_per_run(shards: int, clips: int, most: int) -> int:
    """How many shards share a run of a cluster: as few as pay for its start, that all nodes have something to do; more where
    Dagster's queue would grow long.

    Args:
        shards, clips: to be brought up to date, together.
        most: shards in a run, whatever else is said.
    """
    paying = math.ceil(CLIPS_THAT_PAY_FOR_A_START * shards / max(clips, 1))
    short = math.ceil(shards / MOST_RUNS_IN_QUEUE)
    return min(most, max(1, paying, short))


def run_tags(shards: Sequence[str]) -> dict[str, str]:
    """The tags by which Dagster knows the shards of a run, which follow each other in its order."""
    if len(shards) == 1:
        return {PARTITION_NAME_TAG: shards[0]}
    return {ASSET_PARTITION_RANGE_START_TAG: shards[0], ASSET_PARTITION_RANGE_END_TAG: shards[-1]}


def ends_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """The first and the last shard of a run with these tags, which may be the same; None where it has none."""
    if PARTITION_NAME_TAG in tags:
        return tags[PARTITION_NAME_TAG], tags[PARTITION_NAME_TAG]
    first, last = tags.get(ASSET_PARTITION_RANGE_START_TAG), tags.get(ASSET_PARTITION_RANGE_END_TAG)
    return (first, last) if first and last else None
