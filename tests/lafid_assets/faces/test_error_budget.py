"""The error budget of a shard (`shard_analysis.over_budget`): what counts as failed, and of how many."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.faces.clip_record import Fingerprints
from lafid_assets.faces.shard_analysis import over_budget, waiting_or_broken
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.schemas import CLIPS, FACE_CLIPS
from resources.lake.lake import Lake

SHARD = "shard-00000"


@pytest.mark.parametrize(
    ("failed", "unread", "tried", "message"),
    [
        ({"crashed": 3}, 0, 3, None),
        ({"crashed": 4}, 0, 100, None),
        ({"crashed": 4}, 0, 60, "4 of 60 clips failed (crashed 4), more than the error budget of 5.0% allows"),
        ({"decode_failed": 3, "deadline": 2, "quarantined": 1}, 0, 100, "(decode_failed 3, deadline 2, quarantined 1)"),
        ({}, 4, 0, "4 of 4 clips failed (unreadable 4), more than"),
        ({"crashed": 1}, 5, 95, "6 of 100 clips failed (unreadable 5, crashed 1), more than"),
        ({}, 5, 95, None),
    ],
)
def test_budget_is_of_the_clips_that_were_tried(
    failed: dict[str, int], unread: int, tried: int, message: str | None, row_of: Callable[..., dict[str, Any]], lake: Lake
) -> None:
    """The SQL that lists shards to be computed again agrees: a shard over its budget is not done."""
    statuses = {"deadline": "timeout", "quarantined": "skipped"}
    rows = [(statuses.get(reason, "error"), reason, 1) for reason, count in failed.items() for _ in range(count)]
    rows += [("ok", None, 1)] * (tried - len(rows)) + [("skipped", "upstream", 0)] * 500
    frame = FACE_CLIPS.frame(
        row_of(
            FACE_CLIPS, clip_id=f"{number:04d}", shard=SHARD, fingerprint="trial", status=status, reason=reason, attempts=attempts
        )
        for number, (status, reason, attempts) in enumerate(rows)
    )
    raw = [{"status": "error", "reason": "unreadable"}] * unread + [{"status": "skipped", "reason": "file_missing"}] * 500
    raw += [{"status": "ok"}] * tried
    probed = CLIPS.frame(row_of(CLIPS, clip_id=f"{number:04d}", shard=SHARD, **row) for number, row in enumerate(raw))
    told = over_budget(frame, probed, ShardLimits())
    assert (told is None) if message is None else (message in str(told))
    settled = frame.with_columns(reason=pl.col("reason").replace(["crashed", "deadline"], "decode_failed"))
    lake.put({"face_clips": settled, "clips": probed}, SHARD)
    listed = lake.sql(waiting_or_broken(Fingerprints("measures", "trial"), ShardLimits()))["shard"].to_list()
    assert listed == ([] if message is None else [SHARD])


@pytest.mark.parametrize(
    ("reason", "fingerprint", "waits"),
    [
        ("crashed", "trial", True),
        ("unreadable", "trial", True),
        ("quarantined", "trial", False),
        ("quarantined", "under other limits", True),
        ("decode_failed", "measures", False),
        (None, "measures", False),
    ],
)
def test_a_shard_waits_while_a_clip_of_it_may_still_be_measured(
    reason: str | None, fingerprint: str, waits: bool, row_of: Callable[..., dict[str, Any]], lake: Lake
) -> None:
    status = {None: "ok", "quarantined": "skipped"}.get(reason, "error")
    ended = {"status": status, "reason": reason, "fingerprint": fingerprint, "attempts": 1}
    for shard, row in (("other", {"attempts": 1}), (SHARD, ended)):
        lake.put(
            {"face_clips": FACE_CLIPS.frame([row_of(FACE_CLIPS, clip_id=shard, shard=shard, **{"status": "ok"} | row)])}, shard
        )
    listed = lake.sql(waiting_or_broken(Fingerprints("measures", "trial"), ShardLimits()))["shard"].to_list()
    assert listed == ([SHARD] if waits else [])
