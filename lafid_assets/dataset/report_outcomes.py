"""How the clips of a version ended, shard by shard and fault by fault, and by which rules, as the report shows it.

Belongs here: the log of outcomes and the policies -> the few rows that are shown. Not here: the funnel (`funnel`), faces
(`report_data`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets.constraints.policies import RULES, FacePolicy
from lafid_assets.dataset.versions import Facts, endings_sql
from lafid_assets.outcomes import DECIDED, KEPT, REASONS, Reason, Status
from lafid_assets.schemas import FOOTAGE, OUTCOME_TABLES, RAW_CLIPS
from resources.lake.duckdb_extensions import quoted
from resources.lake.reader import Reader

MOST_SHARDS = 500
SHARDS_A_PAGE = 50
MOST_EXAMPLES = 20
"""Clips of a reason that are named; all are counted."""
GONE = "(not here any more)"
"""The shard of clips that were taken out of the lake since."""
NOBODY_KNOWS = dict.fromkeys(("path", "source", "caption", "detail"))
_DECIDED = ", ".join(map(quoted, sorted(DECIDED)))
_IS_FAILED = f"status NOT IN ('{KEPT}', '{Status.REJECTED}') AND reason NOT IN ({_DECIDED})"
"""`outcomes.is_decision` in SQL, of clips that are not kept."""


@dataclass(frozen=True)
class Failed:
    """Clips that ended for one reason that is no decision.

    Attributes:
        advice: what to do about it.
        clips: how many there are.
        examples: the first of them: `clip_id`, `path`, `source`, `caption`, `detail`; None where nobody knows.
    """

    status: str
    step: str
    reason: str
    advice: str
    clips: int
    examples: list[dict[str, Any]]


@dataclass(frozen=True)
class Shards:
    """The shards, the worst first.

    Attributes:
        shown: `shard`, `clips`, `kept`, `rejected`, `failed` and `skipped` (by decision) of the worst.
        left: how many there are besides, and `left_clips` and `left_kept` of those.
    """

    shown: list[dict[str, Any]]
    left: int
    left_clips: int
    left_kept: int

    @property
    def pages(self) -> list[list[dict[str, Any]]]:
        """The shown shards, page by page."""
        return [self.shown[start : start + SHARDS_A_PAGE] for start in range(0, len(self.shown), SHARDS_A_PAGE)]


def count_shards(reader: Reader, version: Facts) -> Shards:
    """How the clips of each shard ended: most failed clips first, then the smallest share of kept ones."""
    rows = reader.sql(
        f"""SELECT coalesce(shard, '{GONE}') AS shard, count(*) AS clips, count(*) FILTER (status = '{KEPT}') AS kept,
            count(*) FILTER (status = '{Status.REJECTED}') AS rejected, count(*) FILTER ({_IS_FAILED}) AS failed,
            count(*) FILTER (status = '{Status.SKIPPED}' AND reason IN ({_DECIDED})) AS skipped
        FROM ({endings_sql(version)}) LEFT JOIN (SELECT clip_id, shard FROM {FOOTAGE.name}) USING (clip_id)
        GROUP BY ALL ORDER BY failed DESC, kept / clips, shard"""
    )
    left = rows[MOST_SHARDS:]
    return Shards(rows[:MOST_SHARDS].to_dicts(), left.height, int(left["clips"].sum()), int(left["kept"].sum()))


def failed_clips(reader: Reader, version: Facts) -> list[Failed]:
    """The clips that are missing, not done, or failed, by reason, most clips first."""
    rows = reader.sql(
        f"""SELECT *, count(*) OVER same AS clips FROM ({endings_sql(version)}) WHERE {_IS_FAILED}
        WINDOW same AS (PARTITION BY status, step, reason)
        QUALIFY row_number() OVER (PARTITION BY status, step, reason ORDER BY clip_id) <= {MOST_EXAMPLES}
        ORDER BY clips DESC, status, step, reason, clip_id"""
    )
    said = said_of(reader, rows["clip_id"])
    details = _details(reader, rows)
    found = []
    for (status, step, reason, clips), group in rows.group_by("status", "step", "reason", "clips", maintain_order=True):
        examples = [{"clip_id": clip} | said.get(clip, NOBODY_KNOWS) for clip in group["clip_id"]]
        for example in examples:
            example["detail"] = details.get(example["clip_id"], example["detail"])
        found.append(Failed(status, step, reason, REASONS[Status(status)][Reason(reason)], clips, examples))
    return found


def said_of(reader: Reader, clips: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Clip to its `path`, `source`, `caption` and the `detail` of reading its file."""
    wanted = ["clip_id", "path", "source", "caption", "detail"]
    rows = reader.read(RAW_CLIPS.name, columns=wanted, where="clip_id IN (SELECT unnest(?))", parameters=[list(clips)])
    return {row.pop("clip_id"): row for row in rows.to_dicts()}


def _details(reader: Reader, ended: pl.DataFrame) -> dict[str, str]:
    """What the steps after the first wrote down of these clips."""
    details: dict[str, str] = {}
    for (step,), group in ended.filter(pl.col("step").is_in(list(OUTCOME_TABLES)[1:])).group_by("step"):
        query = f"SELECT clip_id, detail FROM {OUTCOME_TABLES[step]} WHERE clip_id IN (SELECT unnest(?)) AND detail IS NOT NULL"
        details |= dict(reader.sql(query, [group["clip_id"].to_list()]).iter_rows())
    return details


DEMAND = {"min": "at least", "max": "at most", "above": "more than"}


def decided_by(
    policies: pl.DataFrame, engines: pl.DataFrame, sources: pl.DataFrame, unjudged: Mapping[str, int]
) -> list[tuple[str, str]]:
    """What and how, a line each: face policies, what they could not judge, sampling, engines, licences of the kept clips.

    Args:
        policies, engines, sources: as `report_data.face_policies`, `face_engines` and `kept_sources` give them.
        unjudged: as `report_data.unjudged_rules` gives it.
    """
    read = [(FacePolicy.model_validate_json(text), frames) for _, text, frames in policies.iter_rows()]
    return [
        *((f"face policy {policy.name}", _thresholds(policy)) for policy, _ in read),
        *((f"measured for {policy.name}", _sampling(frames, policy)) for policy, frames in read),
        *(("not judged", f"{rule}: {clips} clips lack the measure and were kept") for rule, clips in unjudged.items()),
        *_lines(engines, "face engine"),
        *_lines(sources, "kept from"),
    ]


def _thresholds(policy: FacePolicy) -> str:
    asked = [(rule.measure, DEMAND[rule.bound], rule.threshold_in(policy)) for rule in RULES]
    return ", ".join(f"{measure} {words} {figure:g}" for measure, words, figure in asked if figure is not None)


def _sampling(frames_median: float | None, policy: FacePolicy) -> str:
    frames = "no frame" if frames_median is None else f"{frames_median:.0f} frames a clip (median)"
    text = f"{frames}, sampled evenly; ranges of pose run from percentile {policy.range_percentile:g} to its opposite"
    paper = "; the paper measures every frame, and that its three ranges are added is our reading of it"
    return text + (paper if policy.name.startswith("faithfulfaces") else "")


def _lines(counted: pl.DataFrame, heading: str) -> list[tuple[str, str]]:
    return [(heading, f"{name} (licence: {terms}): {clips} clips") for name, terms, clips in counted.iter_rows()]
