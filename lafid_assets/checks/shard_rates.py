"""The figures of one shard in one step that are plotted shard by shard.

Belongs here: a step's table with statuses and reasons -> counts and rates. Not here: the rates of a whole dataset
(`dataset_rates`).
"""

import polars as pl

from lafid_assets.outcomes import Reason, Status

FAILED = (Status.ERROR, Status.TIMEOUT)


def shard_rates(frame: pl.DataFrame) -> dict[str, float | int]:
    """`clips_<status>` of every status, `keep_rate` and `error_rate`.

    A status that no clip has counts 0: that is a point of its plot, too. The rates are shares of the clips that came to the step;
    where none came they are absent, never 0.

    Args:
        frame: `status` and `reason`, a row a clip.
    """
    of_status = dict(frame["status"].value_counts().iter_rows())
    elsewhere = frame.filter(status=Status.SKIPPED, reason=Reason.UPSTREAM).height
    counts = {status: of_status.get(status, 0) for status in Status}
    failed = sum(counts[status] for status in FAILED)
    return {
        **{f"clips_{status}": clips for status, clips in counts.items()},
        **rates(frame.height - elsewhere, counts[Status.OK], failed),
    }


def rates(clips_in: int, passed: int, failed: int) -> dict[str, float]:
    """`keep_rate` and `error_rate`; nothing where no clip came in."""
    return {"keep_rate": passed / clips_in, "error_rate": failed / clips_in} if clips_in else {}
