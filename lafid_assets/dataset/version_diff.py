"""What lies between two versions of the dataset: which clips came, went or changed, and why.

Belongs here: two kept versions -> a row a clip that differs. Not here: keeping versions (`versions`), printing (`cli.diff`).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from lafid_assets.dataset.funnel import KEPT
from lafid_assets.dataset.versions import VERSIONED, Facts, endings_at, find_version
from lafid_assets.schemas import DATASET_VERSION_ROWS
from resources.lake import Lake
from resources.lake_reader import Reader

ENTIRELY_NEW = "it did not come in before"
NO_LONGER_IN = "it does not come in any more"
COMPARED = (*VERSIONED, "identity_id")
LISTED = {"references": ("frame_index", "face_index"), "cross_references": ("clip_id", "reference_index")}
"""Lists, and what of their members is compared."""


def diff_versions(reader: Reader, older: Facts, newer: Facts) -> pl.DataFrame:
    """Columns `clip_id`, `change` (came, went, changed) and `why`, sorted by change and clip.

    A clip that came says how the older version had ended it, one that went how the newer one ends it; of one that changed it is
    said what, with both values.
    """
    before, after = _differing(reader, older, newer), _differing(reader, newer, older)
    was = endings_at(reader, older, after.keys() - before.keys())
    is_now = endings_at(reader, newer, before.keys() - after.keys())
    rows = [(clip, "came", _came(was.get(clip))) for clip in after.keys() - before.keys()]
    rows += [(clip, "went", _ended(is_now[clip]) if clip in is_now else NO_LONGER_IN) for clip in before.keys() - after.keys()]
    rows += [(clip, "changed", "; ".join(_changes(before[clip], after[clip]))) for clip in before.keys() & after.keys()]
    schema = {"clip_id": pl.String, "change": pl.String, "why": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").sort("change", "clip_id")


def as_object(lake: Lake, older: str, newer: str) -> dict[str, Any]:
    """The difference as one object: both versions, how many clips differ in which way, the rules that differ, and every clip.

    Args:
        older, newer: as `versions.find_version` takes them.

    Raises:
        VersionUnknown: no version begins so, or several do.
    """
    with lake.snapshot() as reader:
        versions = (find_version(reader, older), find_version(reader, newer))
        rows = diff_versions(reader, *versions)
    counts: dict[str, int] = dict(rows.group_by("change").len().iter_rows())
    return {
        "versions": [facts["dataset_version"] for facts in versions],
        "made_at": [facts["made_at"] for facts in versions],
        "clips": [facts["clips"] for facts in versions],
        "erased": [facts["erased_clips"] for facts in versions],
        **{change: counts.get(change, 0) for change in ("came", "went", "changed")},
        "rules_differ": versions[0]["decided_by"] != versions[1]["decided_by"],
        "rows": rows.to_dicts(),
    }


def _differing(reader: Reader, one: Facts, other: Facts) -> dict[str, Mapping[str, Any]]:
    """Clip to what is compared of it, of the clips of one version that are not the same in the other."""
    lists = []
    for name, keys in LISTED.items():
        members = ", ".join(f"part.{key}::VARCHAR" for key in keys)
        lists.append(f'[[{members}] FOR part IN "{name}"] AS "{name}"')
    compared = f"SELECT {', '.join(['clip_id', *COMPARED, *lists])} FROM {DATASET_VERSION_ROWS.name} WHERE dataset_version = ?"
    rows = reader.sql(f"{compared} EXCEPT {compared}", [one["dataset_version"], other["dataset_version"]])
    return {row["clip_id"]: row for row in rows.iter_rows(named=True)}


def _ended(ending: tuple[str, str, str]) -> str:
    """Such as `rejected by pose_filtered_clips: pose_variation_low`."""
    status, step, reason = ending
    return KEPT if status == KEPT else f"{status} by {step}: {reason}"


def _came(ended_before: tuple[str, str, str] | None) -> str:
    return ENTIRELY_NEW if ended_before is None else f"before, it was {_ended(ended_before)}"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    changes = [f"{name}: {before[name]} -> {after[name]}" for name in COMPARED if before[name] != after[name]]
    for name in LISTED:
        old, new = ({tuple(part) for part in row[name]} for row in (before, after))
        if before[name] != after[name]:
            changes.append(f"{name}: {len(old - new)} went, {len(new - old)} came")
    return changes
