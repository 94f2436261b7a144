"""What the report shows, counted by the lake: there are more faces and clips than memory holds.

Belongs here: SQL -> the few figures and clips that are drawn. Not here: drawing (`figures`, `contact_sheet`), the funnel.
"""

import polars as pl

from lafid_assets import schemas
from lafid_assets.constraints.policies import FacePolicy
from lafid_assets.constraints.threshold_margins import miss_share
from lafid_assets.dataset.contact_sheet import MOST_STRIPS
from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas.measures import EXPRESSIONS
from resources.lake.duckdb_extensions import quoted
from resources.lake.reader import Reader

POSE_BIN_DEG = 10
MOST_ANGLE_DEG = 90
CLIPS_A_PERSON = 4
"""Shown of a person while there are persons of whom none is shown."""
SHARE_BIN = 0.02
"""Width of the bins of expressions, as a share of a face's height."""


def pose_histogram(reader: Reader) -> pl.DataFrame:
    """`angle` (yaw, pitch, roll), `from_deg`, and how many main faces of all clips (`faces`) and of kept ones (`kept`)."""
    bins = 2 * MOST_ANGLE_DEG // POSE_BIN_DEG
    return reader.sql(
        f"""WITH main AS (
            SELECT yaw_deg AS yaw, pitch_deg AS pitch, roll_deg AS roll,
                clip_id IN (SELECT clip_id FROM {schemas.LAFID_DATASET.name}) AS is_kept
            FROM {schemas.FACE_INFO.name} WHERE face_index = 0 AND yaw_deg IS NOT NULL)
        SELECT angle, {POSE_BIN_DEG} * least(floor((deg + {MOST_ANGLE_DEG}) / {POSE_BIN_DEG}), {bins - 1}) - {MOST_ANGLE_DEG}
            AS from_deg,
            count(*) AS faces, count(*) FILTER (is_kept) AS kept
        FROM (UNPIVOT main ON yaw, pitch, roll INTO NAME angle VALUE deg)
        WHERE abs(deg) <= {MOST_ANGLE_DEG} GROUP BY ALL ORDER BY ALL"""
    )


def expression_histogram(reader: Reader) -> pl.DataFrame:
    """`measure` (of `EXPRESSIONS`), `from_share`, and how many main faces of all clips (`faces`) and of kept ones (`kept`)."""
    return reader.sql(
        f"""WITH main AS (
            SELECT {", ".join(EXPRESSIONS)}, clip_id IN (SELECT clip_id FROM {schemas.LAFID_DATASET.name}) AS is_kept
            FROM {schemas.FACE_INFO.name} WHERE face_index = 0)
        SELECT measure, {SHARE_BIN} * floor(share / {SHARE_BIN}) AS from_share,
            count(*) AS faces, count(*) FILTER (is_kept) AS kept
        FROM (UNPIVOT main ON {", ".join(EXPRESSIONS)} INTO NAME measure VALUE share) GROUP BY ALL ORDER BY ALL"""
    )


def reference_gaps(reader: Reader) -> pl.DataFrame:
    """What each further reference adds: `gap` (a column of `reference_crops`), `reference_index`, and the quartiles `low`,
    `median` and `high` over clips."""
    return reader.sql(
        f"""SELECT gap, reference_index, quantile_cont(apart, 0.25) AS low, median(apart) AS median,
            quantile_cont(apart, 0.75) AS high
        FROM (UNPIVOT (SELECT reference_index, pose_gap_deg, expression_gap FROM {schemas.REFERENCE_CROPS.name})
            ON pose_gap_deg, expression_gap INTO NAME gap VALUE apart)
        GROUP BY ALL ORDER BY ALL"""
    )


def similarity_curves(reader: Reader) -> pl.DataFrame:
    """`engine`, `gap`, `expected`, `spread`, `strangers`, `measured`: the shards' curves pooled."""
    return reader.sql(
        f"""SELECT engine, (gap_from_deg + gap_to_deg) / 2 AS gap, avg(expected) AS expected, avg(spread) AS spread,
            max(strangers) AS strangers, sum(measured * pairs) / sum(pairs) FILTER (measured IS NOT NULL) AS measured
        FROM {schemas.SIMILARITY_BY_POSE_GAP.name} GROUP BY ALL ORDER BY engine, gap"""
    )


def speech_by_evidence(reader: Reader) -> pl.DataFrame:
    """`status`, `reason` (the evidence that decided), `clips` of the kept clips."""
    return reader.sql(
        f"""SELECT tagged.speaking_status AS status, tagged.speaking_reason AS reason, count(*) AS clips
        FROM {schemas.LAFID_DATASET.name} JOIN {schemas.SPEECH_TAGGED_CLIPS.name} tagged USING (shard, clip_id)
        GROUP BY ALL ORDER BY status, clips DESC, reason"""
    )


def shots_of_recordings(reader: Reader) -> dict[str, int]:
    """`recordings` (files with cuts), `shots` that they gave as clips, of these the `kept` ones and those `too_short` to be
    looked at, and `broken`, parts that cannot be decoded."""
    kept = f"clip_id IN (SELECT clip_id FROM {schemas.LAFID_DATASET.name})"
    broken = f"status = '{Status.ERROR}'"
    counted = reader.sql(
        f"""SELECT count(DISTINCT recording_id) AS recordings, count(*) FILTER (NOT {broken}) AS shots,
            count(*) FILTER ({kept}) AS kept, count(*) FILTER (reason = '{Reason.TOO_SHORT}') AS too_short,
            count(*) FILTER ({broken}) AS broken
        FROM {schemas.FOOTAGE.name} WHERE recording_id IS NOT NULL"""
    )
    return counted.row(0, named=True)


def kept_to_show(reader: Reader) -> pl.DataFrame:
    """Kept clips by person, some of each: the first persons."""
    return reader.sql(
        f"""SELECT clip_id, shard, duration_s, identity_id, speaking_status, path, source, refined_caption AS caption FROM (
            SELECT *, (row_number() OVER (PARTITION BY identity_id ORDER BY clip_id) - 1) // {CLIPS_A_PERSON} AS turn
            FROM {schemas.LAFID_DATASET.name} ORDER BY turn, identity_id, clip_id LIMIT {MOST_STRIPS})
        ORDER BY identity_id, clip_id"""
    )


def rejected_to_show(reader: Reader) -> pl.DataFrame:
    """Rejected clips of known length with `miss`: the narrowest misses of the face constraints, then others."""
    shares = " ".join(
        f"WHEN {quoted(sha)} THEN {miss_share(FacePolicy.model_validate_json(text))}"
        for sha, text, _ in face_policies(reader).iter_rows()
    )
    miss = f"CASE policy_sha256 {shares} END" if shares else "NULL"
    found = [_narrowest(reader, schemas.POSE_FILTERED_CLIPS.name, miss)]
    if found[0]["miss"].drop_nulls().len() < MOST_STRIPS:
        found += [
            _narrowest(reader, table, "NULL")
            for table in schemas.OUTCOME_TABLES.values()
            if table != schemas.POSE_FILTERED_CLIPS.name
        ]
    rows = pl.concat(found).sort("miss", "reason", "clip_id", nulls_last=True)
    return rows.unique("clip_id", keep="first", maintain_order=True).head(MOST_STRIPS)


def face_policies(reader: Reader) -> pl.DataFrame:
    """`policy_sha256`, `settings`, and the median of the `frames` that were judged by it."""
    return reader.sql(
        f"""SELECT policy_sha256, settings, frames
        FROM (SELECT policy_sha256, median(frames) AS frames FROM {schemas.POSE_FILTERED_CLIPS.name} GROUP BY policy_sha256)
        JOIN {schemas.POLICY_SETTINGS.name} USING (policy_sha256) ORDER BY settings"""
    )


def unjudged_rules(reader: Reader) -> dict[str, int]:
    """Rule of the face constraints to how many of the clips that they keep lack all measures that it asks for."""
    counted = reader.sql(
        f"""SELECT rule, count(*) FROM (SELECT unnest(unjudged) AS rule FROM {schemas.POSE_FILTERED_CLIPS.name} WHERE keep)
        GROUP BY ALL ORDER BY ALL"""
    )
    return dict(counted.iter_rows())


def face_engines(reader: Reader) -> pl.DataFrame:
    """`what`, `licence`, `clips` of the face engines."""
    return _counted(reader, schemas.FACE_CLIPS.name, "concat(engine, ' ', engine_version)", "engine_licence")


def kept_sources(reader: Reader) -> pl.DataFrame:
    """`what`, `licence`, `clips` of the datasets from which clips are kept."""
    return _counted(reader, schemas.LAFID_DATASET.name, "source", "licence")


def _narrowest(reader: Reader, table: str, miss: str) -> pl.DataFrame:
    # Some have no known length, and are left out afterwards: looking all of them up would cost more.
    return reader.sql(
        f"""WITH near AS (
            SELECT clip_id, shard, reason, ({miss})::DOUBLE AS miss FROM {table} WHERE status = '{Status.REJECTED}'
            ORDER BY miss NULLS LAST, reason, clip_id LIMIT {2 * MOST_STRIPS})
        SELECT near.*, duration_s FROM near JOIN {schemas.FOOTAGE.name} USING (shard, clip_id) WHERE duration_s IS NOT NULL"""
    )


def _counted(reader: Reader, table: str, what: str, licence: str) -> pl.DataFrame:
    return reader.sql(f"SELECT {what} AS what, {licence} AS licence, count(*) AS clips FROM {table} GROUP BY ALL ORDER BY ALL")
