"""What lies between two versions of the dataset: which clips came, went or changed, and why.

Belongs here: two kept versions -> a row a clip that differs. Not here: keeping versions (`versions`), printing (`cli.diff`).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from lafid_assets.dataset.funnel import KEPT
from lafid_assets.dataset.versions import VERSIONED, KeptVersion

ENTIRELY_NEW = "it did not come in before"
NO_LONGER_IN = "it does not come in any more"
COMPARED = (*VERSIONED, "identity_id")


def diff_versions(older: KeptVersion, newer: KeptVersion) -> pl.DataFrame:
    """Columns `clip_id`, `change` (came, went, changed) and `why`, sorted by change and clip.

    A clip that came says how the older version had ended it, one that went how the newer one ends it; of one that changed it is
    said what, with both values.
    """
    before, after = _by_clip(older.rows), _by_clip(newer.rows)
    was, is_now = _endings(older.outcomes), _endings(newer.outcomes)
    rows = [(clip, "came", _came(was.get(clip))) for clip in after.keys() - before.keys()]
    rows += [(clip, "went", is_now.get(clip, NO_LONGER_IN)) for clip in before.keys() - after.keys()]
    for clip in before.keys() & after.keys():
        changes = _changes(before[clip], after[clip])
        if changes:
            rows.append((clip, "changed", "; ".join(changes)))
    schema = {"clip_id": pl.String, "change": pl.String, "why": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("change", "clip_id")


def as_object(older: KeptVersion, newer: KeptVersion) -> dict[str, Any]:
    """The difference as one object: both versions, how many clips differ in which way, the rules that differ, and every clip."""
    rows = diff_versions(older, newer)
    counts: dict[str, int] = dict(rows.group_by("change").len().iter_rows())
    versions = (older.facts, newer.facts)
    return {
        "versions": [facts["dataset_version"] for facts in versions],
        "made_at": [facts["made_at"] for facts in versions],
        "clips": [facts["clips"] for facts in versions],
        "erased": [facts["erased_clips"] for facts in versions],
        **{change: counts.get(change, 0) for change in ("came", "went", "changed")},
        "rules_differ": older.facts["decided_by"] != newer.facts["decided_by"],
        "rows": rows.to_dicts(),
    }


def _by_clip(rows: pl.DataFrame) -> dict[str, Mapping[str, Any]]:
    wanted = rows.select("clip_id", *COMPARED, "references", "cross_references")
    return {row["clip_id"]: row for row in wanted.iter_rows(named=True)}


def _endings(outcomes: pl.DataFrame) -> dict[str, str]:
    """Clip to how it ended: `rejected by pose_filtered_clips: pose_variation_low`."""
    rows = outcomes.select("clip_id", "status", "step", "reason").iter_rows()
    return {clip: KEPT if status == KEPT else f"{status} by {step}: {reason}" for clip, status, step, reason in rows}


def _came(ended_before: str | None) -> str:
    return ENTIRELY_NEW if ended_before is None else f"before, it was {ended_before}"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    changes = [f"{name}: {before[name]} -> {after[name]}" for name in COMPARED if before[name] != after[name]]
    for name, keys in (("references", ("frame_index", "face_index")), ("cross_references", ("clip_id", "reference_index"))):
        old, new = ([tuple(part[key] for key in keys) for part in row[name]] for row in (before, after))
        if old != new:
            changes.append(f"{name}: {len(set(old) - set(new))} went, {len(set(new) - set(old))} came")
    return changes
