"""What lies between two versions of the dataset: which clips came, went or changed, and why.

Belongs here: two kept versions -> a row a clip that differs. Not here: keeping versions (`versions`), printing (`cli.diff`).
"""

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from lafid_assets.dataset.versions import VERSIONED, Facts, endings_at, find_version
from lafid_assets.outcomes import KEPT, is_decision
from lafid_assets.schemas import CLIP_CONTENTS, CLIPS, DATASET_VERSION_ROWS
from resources.lake.lake import Lake
from resources.lake.reader import Reader

ENTIRELY_NEW = "it did not come in before"
NO_LONGER_IN = "it does not come in any more"
REPLACED = "its file has another content now, or is cut otherwise"
COMPARED = (*VERSIONED, "identity_id")
LISTED = {"references": ("frame_index", "face_index"), "cross_references": ("clip_id", "reference_index")}
"""Lists, and what of their members is compared."""
ROWS = {"clip_id": pl.String, "change": pl.String, "why": pl.String, "kind": pl.String, "by_decision": pl.Boolean}


def diff_versions(reader: Reader, older: Facts, newer: Facts) -> pl.DataFrame:
    """Columns `clip_id`, `change` (came, went, changed), `why`, `kind` and `by_decision`, sorted by change and clip.

    A clip that came says how the older version had ended it, one that went how the newer one ends it; of one that changed it is
    said what, with both values. `kind` is the same for all clips that differ in the same way; `by_decision` says of a clip that
    went whether it was decided against, or gave way to another content of its file, and is NULL of the others.
    """
    before, after = _differing(reader, older, newer), _differing(reader, newer, older)
    was = endings_at(reader, older, after.keys() - before.keys())
    is_now = endings_at(reader, newer, before.keys() - after.keys())
    rows: list[tuple[str, str, str, str, bool | None]] = []
    for clip in after.keys() - before.keys():
        why = _came(was.get(clip))
        rows.append((clip, "came", why, why, None))
    replaced = _replaced(reader, older, before.keys() - after.keys() - is_now.keys())
    for clip in before.keys() - after.keys():
        if clip in is_now:
            status, _, reason = is_now[clip]
            why, by_decision = _ended(is_now[clip]), is_decision(status, reason)
        else:
            by_decision = clip in replaced
            why = REPLACED if by_decision else NO_LONGER_IN
        rows.append((clip, "went", why, why, by_decision))
    for clip in before.keys() & after.keys():
        changes = _changes(before[clip], after[clip])
        rows.append((clip, "changed", "; ".join(": ".join(change) for change in changes), ", ".join(dict(changes)), None))
    return pl.DataFrame(rows, schema=ROWS, orient="row").sort("change", "clip_id")


def summarize(older: Facts, newer: Facts, rows: pl.DataFrame) -> dict[str, Any]:
    """How many clips differ in which way.

    Args:
        rows: as `diff_versions` gives them.

    Returns:
        both versions with their dates, clips, persons and erased clips, how many `came`, `went`, `went_by_decision` and
        `changed`, of how many the caption changed (`captions`), and whether the rules differ.
    """
    counts: dict[str, int] = dict(rows.group_by("change").len().iter_rows())
    both = (older, newer)
    return {
        "versions": [facts["dataset_version"] for facts in both],
        "made_at": [facts["made_at"] for facts in both],
        "clips": [facts["clips"] for facts in both],
        "persons": [facts["identities"] for facts in both],
        "erased": [facts["erased_clips"] for facts in both],
        **{change: counts.get(change, 0) for change in ("came", "went", "changed")},
        "went_by_decision": int(rows["by_decision"].sum()),
        "captions": rows.filter(pl.col("kind").str.split(", ").list.contains("refined_caption")).height,
        "rules_differ": older["decided_by"] != newer["decided_by"],
    }


def as_object(lake: Lake, older: str, newer: str) -> dict[str, Any]:
    """The difference as one object: what `summarize` says, and every clip in `rows`.

    Args:
        older, newer: as `versions.find_version` takes them.

    Raises:
        VersionUnknown: no version begins so, or several do.
    """
    with lake.snapshot() as reader:
        versions = (find_version(reader, older), find_version(reader, newer))
        rows = diff_versions(reader, *versions)
    return summarize(*versions, rows) | {"rows": rows.select("clip_id", "change", "why").to_dicts()}


def _differing(reader: Reader, one: Facts, other: Facts) -> dict[str, Mapping[str, Any]]:
    """Clip to what is compared of it, of the clips of one version that are not the same in the other."""
    lists = []
    for name, keys in LISTED.items():
        members = ", ".join(f"part.{key}::VARCHAR" for key in keys)
        lists.append(f'[[{members}] FOR part IN "{name}"] AS "{name}"')
    compared = f"SELECT {', '.join(['clip_id', *COMPARED, *lists])} FROM {DATASET_VERSION_ROWS.name} WHERE dataset_version = ?"
    rows = reader.sql(f"{compared} EXCEPT {compared}", [one["dataset_version"], other["dataset_version"]])
    return {row["clip_id"]: row for row in rows.iter_rows(named=True)}


def _replaced(reader: Reader, version: Facts, gone: Collection[str]) -> set[str]:
    """Clips of a version that do not come in any more, although their file or recording is here: it gives other clips now."""
    if not gone:
        return set()
    rows = reader.sql(
        f"""SELECT clip_id FROM {DATASET_VERSION_ROWS.name} held
            LEFT JOIN (SELECT clip_root, path, content_sha256 AS now FROM {CLIP_CONTENTS.name}) USING (clip_root, path)
        WHERE dataset_version = ? AND clip_id IN (SELECT unnest(?))
            AND (now <> content_sha256 OR recording_id IN (SELECT clip_id FROM {CLIPS.name}))""",
        [version["dataset_version"], sorted(gone)],
    )
    return set(rows["clip_id"])


def _ended(ending: tuple[str, str, str]) -> str:
    """Such as `rejected by pose_filtered_clips: pose_variation_low`."""
    status, step, reason = ending
    return KEPT if status == KEPT else f"{status} by {step}: {reason}"


def _came(ended_before: tuple[str, str, str] | None) -> str:
    return ENTIRELY_NEW if ended_before is None else f"before, it was {_ended(ended_before)}"


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What differs between two rows of a clip, in words."""
    changes = [(name, f"{before[name]} -> {after[name]}") for name in COMPARED if before[name] != after[name]]
    for name in LISTED:
        old, new = ({tuple(part) for part in row[name]} for row in (before, after))
        if before[name] != after[name]:
            changes.append((name, f"{len(old - new)} went, {len(new - old)} came"))
    return changes
