"""`lafid whatif`: what another face policy would keep. Writes nothing but the picture.

Belongs here: reading, choosing the policy and showing. Not here: deciding (`constraints.whatif`).
"""

from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.cli.published import Published, open_published
from lafid_assets.constraints.decision import RAW_MEASURES
from lafid_assets.constraints.figures import measure_png
from lafid_assets.constraints.measures import FACE_COLUMNS, FRAME_COLUMNS, measure_clips
from lafid_assets.constraints.policies import RULES, FacePolicy, PolicyUnusable, change_policy, load_policy
from lafid_assets.constraints.scan_limits import unseen_by_policy
from lafid_assets.constraints.whatif import WhatIf, compare, needs_measuring, with_raw_measures
from lafid_assets.outcomes import Status
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, POSE_FILTERED_CLIPS, RAW_CLIPS
from model.files import whole_file
from resources.settings import Settings


def run_whatif(settings: Settings, changes: list[str], policy: str | None, out: Path | None) -> None:
    """Show kept clips before and after, which reasons changed, and draw the measure whose threshold moved.

    Args:
        changes: `field=value` each.
        policy: name or file of the policy to start from; the one that stands when None.
        out: the PNG to write; `whatif.png` in the home when None.

    Raises:
        PolicyUnusable: a field, a value or a policy does not exist.
    """
    with open_published(settings) as published:
        decided = published.table(POSE_FILTERED_CLIPS.name)
        before = _standing_policy(decided)
        after = change_policy(load_policy(policy) if policy else before, _parse(changes))
        result = compare(decided, _measured(published, decided, before, after), after)
        unseen = unseen_by_policy(after, published.table(FACE_CLIPS.name))
    _show(result, before, after)
    if unseen.count:
        CONSOLE.print(str(unseen), style="yellow", soft_wrap=True)
    moved = _moved_measure(before, after)
    if moved is not None and result.after.height:
        measure, field = moved
        target = out or settings.home / "whatif.png"
        with whole_file(target) as temporary:
            temporary.write_bytes(measure_png(result.after[measure], getattr(before, field), getattr(after, field)))
        CONSOLE.print(f"{measure} over all judged clips: {target}", soft_wrap=True, markup=False)


def _parse(changes: list[str]) -> dict[str, str]:
    pairs = [change.partition("=") for change in changes]
    for name, sign, value in pairs:
        if not (name and sign and value):
            raise PolicyUnusable(f"--set wants field=value, not {name + sign + value!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _standing_policy(decided: pl.DataFrame) -> FacePolicy:
    settings = decided["policy_settings"].unique().to_list()
    if len(settings) != 1:
        raise PolicyUnusable(
            f"the shards were decided by {len(settings)} different policies: materialize pose_filtered_clips with one first"
        )
    return FacePolicy.model_validate_json(settings[0])


def _measured(published: Published, decided: pl.DataFrame, before: FacePolicy, after: FacePolicy) -> pl.DataFrame:
    measures = decided.filter(pl.col("status") != Status.SKIPPED)
    if needs_measuring(before, after):
        faces, frames = published.table(FACE_INFO.name, FACE_COLUMNS), published.table(FACE_FRAMES.name, FRAME_COLUMNS)
        measures = measures.select("clip_id").join(measure_clips(faces, frames, after), on="clip_id", how="left")
    return with_raw_measures(measures, published.table(RAW_CLIPS.name, ["clip_id", *RAW_MEASURES]))


def _show(result: WhatIf, before: FacePolicy, after: FacePolicy) -> None:
    differing = {
        name: (value, getattr(after, name)) for name, value in before.model_dump().items() if value != getattr(after, name)
    }
    for name, (old, new) in differing.items():
        CONSOLE.print(f"{name}: {_word(old)} -> {_word(new)}", markup=False)
    CONSOLE.print(
        f"face constraints keep {result.kept_before} of {result.after.height} judged clips now, "
        f"{result.kept_after} under {after.name}; nothing was written",
        soft_wrap=True,
    )
    if result.changed.height:
        table = Table("now", "then", "clips")
        for row in result.changed.iter_rows(named=True):
            table.add_row(row["before"], row["after"], str(row["clips"]))
        CONSOLE.print(table)


def _word(value: Any) -> str:
    return "off" if value is None else str(value)


def _moved_measure(before: FacePolicy, after: FacePolicy) -> tuple[str, str] | None:
    """The first rule whose threshold moved: its measure and the policy's field."""
    for rule in RULES:
        if isinstance(rule.threshold, str) and getattr(before, rule.threshold) != getattr(after, rule.threshold):
            return rule.measure, rule.threshold
    return None
