"""`lafid whatif`: what another face policy would keep. Writes nothing, but a picture where one is asked for.

Belongs here: reading, choosing the policy and showing. Not here: deciding (`constraints.whatif`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from lafid_assets.cli.display import CONSOLE, show_unjudged
from lafid_assets.constraints.figures import histogram_lines, measure_png
from lafid_assets.constraints.policies import RULES, FacePolicy, PolicyUnusable, Rule, change_policy, load_policy
from lafid_assets.constraints.scan_limits import unseen_by_policy
from lafid_assets.constraints.whatif import (
    clip_measures,
    compare,
    counts_otherwise,
    telling_rule,
    turns_otherwise,
    with_ranges,
    with_several_faces,
)
from lafid_assets.lafid_toml.settings_file import SettingsFile
from lafid_assets.lake import open_lake
from lafid_assets.outcomes import Status
from lafid_assets.policy_settings import all_settings
from lafid_assets.schemas import FACE_CLIPS, FACE_INFO, FOOTAGE, PICTURE_MEASURES, POSE_FILTERED_CLIPS
from model.files import write_whole
from resources.lake.reader import Reader
from resources.settings import Settings

DROPPED = f"""
    SELECT tier, scan_verdict, scan_margins_sha256 FROM {FACE_CLIPS.name}
    WHERE tier = 'scan' AND scan_verdict IS NOT NULL
"""
MEASURES = tuple(dict.fromkeys(rule.measure for rule in RULES if rule.measure in POSE_FILTERED_CLIPS.dtypes))


def run_whatif(settings: Settings, changes: list[str], policy: str | None, out: Path | None) -> dict[str, Any]:
    """Kept clips before and after, which reasons changed, and how the measure is spread whose threshold moved.

    Args:
        changes: `field=value` each.
        policy: name or file of the policy to start from; the one that stands when None, and without changes that of `lafid.toml`.
        out: a PNG to write of the same; none when None.

    Returns:
        one object: `policy`, `differing` (field to its values now and then), `judged`, `kept_now`, `kept_then`, `changed` (clips
        by `before` and `after`), `unjudged`, `unseen` (clips that the scan dropped and this policy might keep), and `measure`
        (its name, thresholds and histogram; None where no threshold moved).
    """
    with open_lake(settings, read_only=True).snapshot() as reader:
        before = _standing_policy(reader)
        after = change_policy(_start(settings, before, changes, policy), _parse(changes))
        result = compare(_measured(reader, before, after), after)
        unseen = unseen_by_policy(after, reader.sql(DROPPED), all_settings(reader))
    rule = telling_rule(before, after, result.changed)
    told = after.model_dump(mode="json")
    return {
        "policy": after.name,
        "differing": {name: [old, told[name]] for name, old in before.model_dump(mode="json").items() if old != told[name]},
        "judged": result.after.height,
        "kept_now": result.kept_before,
        "kept_then": result.kept_after,
        "changed": result.changed.to_dicts(),
        "unjudged": result.unjudged,
        "unseen": {"clips": unseen.count, "said": str(unseen)},
        "measure": _measure(result.after, rule, before, after, out) if rule is not None and result.after.height else None,
    }


def _start(settings: Settings, before: FacePolicy, changes: list[str], policy: str | None) -> FacePolicy:
    if policy:
        return load_policy(policy)
    return before if changes else SettingsFile.of(settings.home).face_policy()


def _parse(changes: list[str]) -> dict[str, str]:
    pairs = [change.partition("=") for change in changes]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise PolicyUnusable(f"--set wants field=value, not {name + sign + value!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _standing_policy(reader: Reader) -> FacePolicy:
    decided_by = reader.sql(f"SELECT DISTINCT policy_sha256 FROM {POSE_FILTERED_CLIPS.name}")["policy_sha256"]
    if len(decided_by) != 1:
        raise PolicyUnusable(
            f"the shards were decided by {len(decided_by)} different policies: materialize pose_filtered_clips with one first"
            if len(decided_by)
            else "no clip was decided yet: run `make demo` or `lafid curate DIR` first"
        )
    return FacePolicy.model_validate_json(all_settings(reader)[decided_by[0]])


def _measured(reader: Reader, before: FacePolicy, after: FacePolicy) -> pl.DataFrame:
    """The clips that were judged, measured as `after` wants it. No column is read that nobody looks at."""
    turns, counts = turns_otherwise(before, after), counts_otherwise(before, after)
    told = clip_measures(before, after)
    key = ["clip_id"] if turns or counts or told else []
    columns = ", ".join([*key, "frames", "status", "reason", *MEASURES])
    decided = reader.sql(f"SELECT {columns} FROM {POSE_FILTERED_CLIPS.name} WHERE status <> '{Status.SKIPPED}'")
    if turns:
        angles = reader.sql(f"SELECT clip_id, yaw_deg, pitch_deg, roll_deg FROM {FACE_INFO.name} WHERE face_index = 0")
        decided = with_ranges(decided, angles, after)
    if counts:
        faces = reader.sql(f"SELECT clip_id, frame_index, face_index, frame_share FROM {FACE_INFO.name}")
        decided = with_several_faces(decided, faces, after)
    if told:
        table = FOOTAGE if set(told) <= set(FOOTAGE.dtypes) else PICTURE_MEASURES
        decided = decided.join(reader.sql(f"SELECT clip_id, {', '.join(told)} FROM {table.name}"), on="clip_id", how="left")
    return decided


def _measure(judged: pl.DataFrame, rule: Rule, before: FacePolicy, after: FacePolicy, out: Path | None) -> dict[str, Any]:
    values = judged[rule.measure]
    thresholds = {"now": rule.threshold_in(before), "then": rule.threshold_in(after)}
    if out is not None:
        write_whole(out, measure_png(values, thresholds))
    drawn = None if out is None else str(out)
    return {"name": rule.measure, **thresholds, "histogram": histogram_lines(values, thresholds), "picture": drawn}


def show_whatif(found: Mapping[str, Any]) -> None:
    """Show the comparison to a person."""
    for name, (now, then) in found["differing"].items():
        CONSOLE.print(f"{name}: {_word(now)} -> {_word(then)}")
    CONSOLE.print(
        f"face constraints keep {found['kept_now']} of {found['judged']} judged clips now, "
        f"{found['kept_then']} under {found['policy']}; no table was touched"
    )
    if found["changed"]:
        table = Table("now", "then", "clips")
        for row in found["changed"]:
            table.add_row(row["before"], row["after"], str(row["clips"]))
        CONSOLE.print(table)
    show_unjudged(found["unjudged"])
    if found["unseen"]["clips"]:
        CONSOLE.print(found["unseen"]["said"], style="yellow")
    if (measure := found["measure"]) is not None:
        CONSOLE.print(f"{measure['name']} over all judged clips:")
        for line in measure["histogram"]:
            CONSOLE.print(line, no_wrap=True, crop=False)
        if measure["picture"] is not None:
            CONSOLE.print(f"drawn: {measure['picture']}")


def _word(value: Any) -> str:
    return "off" if value is None else str(value)
