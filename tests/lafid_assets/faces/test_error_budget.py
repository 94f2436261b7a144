"""The error budget of a shard (`shard_analysis.over_budget`): what counts as failed, and of how many."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.faces.shard_analysis import over_budget
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.schemas import FACE_CLIPS, RAW_CLIPS


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
    failed: dict[str, int], unread: int, tried: int, message: str | None, row_of: Callable[..., dict[str, Any]]
) -> None:
    statuses = {"deadline": "timeout", "quarantined": "skipped"}
    rows = [(statuses.get(reason, "error"), reason, 1) for reason, count in failed.items() for _ in range(count)]
    rows += [("ok", None, 1)] * (tried - len(rows)) + [("skipped", "upstream", 0)] * 500
    frame = FACE_CLIPS.frame(
        row_of(FACE_CLIPS, clip_id=f"{number:04d}", status=status, reason=reason, attempts=attempts)
        for number, (status, reason, attempts) in enumerate(rows)
    )
    raw = [{"status": "error", "reason": "unreadable"}] * unread + [{"status": "skipped", "reason": "file_missing"}] * 500
    raw += [{"status": "ok"}] * tried
    probed = RAW_CLIPS.frame(row_of(RAW_CLIPS, clip_id=f"{number:04d}", **row) for number, row in enumerate(raw))
    told = over_budget(frame, probed, ShardLimits())
    assert (told is None) if message is None else (message in str(told))
