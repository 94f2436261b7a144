"""Everything that the page shows of one clip, as one object.

Belongs here: reading the lake, and putting together what the chapters make of it. Not here: the video (`video`), the list
(`worklist`).
"""

from dataclasses import asdict
from typing import Any

import polars as pl

from lafid_assets import schemas
from lafid_assets.constraints.explanation import in_words
from lafid_assets.identity.policies import ConsistencyPolicy
from lafid_assets.policy_settings import all_settings
from lafid_assets.review.clip_facts import ClipTables, decision_of, ending_of, rules_of
from lafid_assets.review.marks import marks_of
from lafid_assets.review.tracks import cuts, face_track, identity_track, speech_track
from resources.lake.reader import Reader


class ClipUnknown(LookupError):
    """There is no such clip in that shard."""


def read_clip(reader: Reader, shard: str, clip_id: str) -> dict[str, Any]:
    """The clip's facts, decision, rules, tracks and marks, ready for JSON.

    Raises:
        ClipUnknown: the tables know none.
    """
    tables = ClipTables(reader, clip_id, shard)
    rows = tables.outcomes()
    raw = rows.get(schemas.RAW_CLIPS.name)
    if not raw:
        raise ClipUnknown(f"there is no clip {clip_id!r} in {shard!r}")
    said_by = all_settings(reader)
    rules = rules_of(rows, tables.row(schemas.PICTURE_MEASURES.name), said_by)
    ending, decision = ending_of(rows), decision_of(rows)
    faces, frames = tables.rows(schemas.FACES.name), tables.rows(schemas.FACE_FRAMES.name)
    identity = rows.get(schemas.ID_CONSISTENT_CLIPS.name) or {}
    policy = ConsistencyPolicy.model_validate_json(said_by[identity["policy_sha256"]]) if identity else None
    tagged = rows.get(schemas.SPEECH_TAGGED_CLIPS.name) or {}
    return {
        "clip_id": clip_id,
        "shard": shard,
        "path": raw["path"],
        "source": raw["source"],
        "licence": raw["licence"],
        "person": tables.row(schemas.IDENTITY_CLUSTERS.name).get("identity_id"),
        "duration_s": raw["duration_s"],
        "codec": raw["video_codec"],
        "caption": tagged.get("refined_caption") or raw["caption"],
        "speaking": tagged.get("speaking_status"),
        "status": ending.status,
        "reason": ending.row.get("reason"),
        "said": in_words(
            ending.status, ending.step, ending.row.get("reason"), rules.get(ending.step, []), ending.row.get("detail")
        ),
        "decision": None if decision is None else asdict(decision),
        "rules": [asdict(line) | {"step": step} for step, lines in rules.items() for line in lines],
        "tracks": {
            "faces": face_track(faces, frames),
            "identity": identity_track(
                faces, frames, _curve(reader, tables, shard, faces), policy, identity.get("identity_break_frame")
            ),
            "speech": speech_track(rows.get(schemas.SPEECH_INFO.name) or {}),
            "cuts": cuts(tables.rows(schemas.SHOT_BOUNDARIES.name)),
        },
        "marks": [asdict(mark) for mark in marks_of(reader, clip_id, decision)],
    }


def _curve(reader: Reader, tables: ClipTables, shard: str, faces: pl.DataFrame) -> pl.DataFrame:
    name = schemas.SIMILARITY_BY_POSE_GAP.name
    if faces.is_empty() or name not in tables.written:
        return pl.DataFrame(schema=schemas.SIMILARITY_BY_POSE_GAP.dtypes)
    engine = [faces["engine"][0], faces["engine_version"][0]]
    return reader.sql(f"SELECT * FROM {name} WHERE shard = ? AND engine = ? AND engine_version = ?", [shard, *engine])
