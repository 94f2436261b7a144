"""Generated rows of all per-shard tables, in the form of their contracts: what a curation of OpenHumanVid leaves behind.

Belongs here: numbers to frames. Not here: laying them into a lake, measuring (`scale`).

500 clips a shard; 7 % are surveyed with 16 faces of 512 floats each, the others scanned with 7 looks; 1.4 % are kept. Every value
follows from the shard's number, so that a lake of 100 shards is the beginning of one of 1,000.
"""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lafid_assets.schemas import (
    CLIP_CONTENTS,
    CLIP_FILES,
    CLIP_ROWS,
    CLIPS,
    FACE_CLIPS,
    FACE_EMBEDDINGS,
    FACE_FRAMES,
    FACE_INFO,
    ID_CONSISTENT_CLIPS,
    PIECES,
    POSE_FILTERED_CLIPS,
    RECORDINGS,
    REFERENCE_CROPS,
    SHOT_BOUNDARIES,
    SIMILARITY_BY_POSE_GAP,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
)
from lafid_assets.steps.contract import TableSchema

CLIPS_PER_SHARD = 500
SURVEYED, KEPT = 0.07, 0.014
SURVEY_FACES, SCAN_LOOKS = 16, 7
PERSONS, PERSON_AXES, EMBEDDING = 60_000, 92, 512
ROOT = "/data/openhumanvid"
ENGINE = {
    "engine": "insightface",
    "engine_version": "buffalo_l/6drepnet",
    "engine_licence": "non-commercial-research",
    "engine_reason": "the model store holds buffalo_l and 6drepnet",
}
CAPTION = (
    "The video features a person in a dark jacket who stands before a brick wall and turns the head slowly to the left while "
    "talking; the light is soft and the camera does not move. "
)
_AXES = np.linalg.qr(np.random.default_rng(0).standard_normal((EMBEDDING, PERSON_AXES)))[0].astype(np.float32)


def shard_name(number: int) -> str:
    """As registration would name it."""
    return f"shard-{number:05d}-{hashlib.sha256(str(number).encode()).hexdigest()[:8]}"


def listed(first: int, count: int) -> pl.DataFrame:
    """`count` clips from number `first` on, as `ingest.listing` lists them."""
    rng = np.random.default_rng(first)
    ids = [hashlib.md5(str(number).encode()).hexdigest() for number in range(first, first + count)]
    said = {column.name: rng.random(count) for column in CLIP_ROWS.columns if column.dtype == pl.Float64}
    return pl.DataFrame(
        {
            "clip_root": ROOT,
            "path": [f"clips/part_001/{name[:2]}/{name[2:4]}/{name}" for name in ids],
            "size_bytes": 900_000,
            "mtime_ns": 1_700_000_000_000_000_000,
            "etag": pl.Series([None] * count, dtype=pl.String),
            "released_id": ids,
            "in_table": True,
            "fault": pl.Series([None] * count, dtype=pl.String),
            "caption": [CAPTION + name for name in ids],
            **said,
            "source": "OpenHumanVid",
            "licence": "CC-BY-NC-ND-4.0",
            "gate": "gated",
        }
    )


def shard_frames(number: int, settings: Mapping[str, str]) -> dict[str, pl.DataFrame]:
    """Table to its rows of one shard.

    Args:
        settings: `policy_sha256` of each deciding table, and `measures`, the fingerprint of the face analysis.
    """
    rng = np.random.default_rng(1_000_003 * (number + 1))
    shard = shard_name(number)
    files = listed(number * CLIPS_PER_SHARD, CLIPS_PER_SHARD).with_columns(shard=pl.lit(shard))
    ids = files["released_id"]
    contents = [hashlib.sha256(name.encode()).hexdigest() for name in ids]
    surveyed = rng.random(CLIPS_PER_SHARD) < SURVEYED
    kept = surveyed & (rng.random(CLIPS_PER_SHARD) < KEPT / SURVEYED)
    if number == 0:
        surveyed[:3] = kept[:3] = True
    clip = {"clip_id": ids, "shard": shard}
    facts = {"status": "ok", "content_sha256": contents, "width": 1280, "height": 720, "duration_s": 5.0, "fps": 24.0}
    person = _persons()[rng.integers(0, PERSONS, CLIPS_PER_SHARD)]
    return {
        CLIP_FILES.name: _whole(CLIP_FILES, files.with_columns(seen_at=pl.lit("2026-01-01T00:00:00+00:00"))),
        CLIP_ROWS.name: _whole(CLIP_ROWS, files),
        CLIP_CONTENTS.name: _whole(
            CLIP_CONTENTS,
            files.with_columns(content_sha256=pl.Series(contents), clip_id=pl.Series(ids), clip_shard=pl.lit(shard)),
        ),
        CLIPS.name: _whole(CLIPS, pl.DataFrame(clip | facts | {"has_audio": True, "file_size_bytes": 900_000})),
        **_faces(clip, contents, surveyed, person, settings, rng),
        **_decisions(clip, surveyed, kept, person, files["caption"], settings, rng),
    }


def _faces(
    clip: Mapping[str, Any], contents: list[str], surveyed: NDArray[np.bool_], person: Any, settings: Mapping[str, str], rng: Any
) -> dict[str, pl.DataFrame]:
    looks = np.where(surveyed, SURVEY_FACES, SCAN_LOOKS)
    of = np.repeat(np.arange(CLIPS_PER_SHARD), looks)
    look = np.concatenate([np.arange(count) for count in looks]).astype(np.int32)
    seen = surveyed[of]
    count = len(of)
    yaw = 30 * np.sin(look / 5) + rng.normal(0, 8, count)
    box = rng.random((count, 2)) * 300
    key = pl.DataFrame(
        {
            "clip_id": clip["clip_id"].gather(of),
            "shard": clip["shard"],
            "frame_index": look * 12,
            "face_index": 0,
            "tier": np.where(seen, "survey", "scan"),
            "pts": look.astype(np.int64) * 512,
            "time_base_num": 1,
            "time_base_den": 12_288,
            **ENGINE,
        }
    )
    info = key.with_columns(
        track_id=_where(np.zeros(count), seen),
        **{f"box_{name}": pl.Series(value) for name, value in zip(("x1", "y1"), box.T, strict=True)},
        **{f"box_{name}": pl.Series(value + 200) for name, value in zip(("x2", "y2"), box.T, strict=True)},
        head_height_px=pl.Series(160 + 80 * rng.random(count)),
        score=pl.Series(rng.random(count)),
        landmarks_px=_lists(rng.random((count, 10)) * 700),
        rotation=_where(_lists(rng.random((count, 9))), seen),
        yaw_deg=_where(yaw, seen),
        pitch_deg=_where(yaw / 3, seen),
        roll_deg=_where(yaw / 5, seen),
        coarse_yaw_deg=pl.Series(yaw.clip(-80, 80)),
        sharpness=pl.Series(rng.random(count) * 200),
        frame_share=pl.Series(rng.random(count) * 0.2),
        mouth_opening=_where(rng.random(count), seen),
    )
    frames = key.with_columns(
        time_s=pl.col("frame_index") / 24, width=pl.lit(1280), height=pl.lit(720), face_count=pl.lit(1), luminance=pl.lit(100.0)
    )
    clips = pl.DataFrame(
        {
            **clip,
            "content_sha256": contents,
            "tier": np.where(surveyed, "survey", "scan"),
            "scan_verdict": _where(pl.Series(["no_face"] * CLIPS_PER_SHARD), ~surveyed),
            "audited": False,
            "scan_margins_sha256": settings["scan_margins_sha256"],
            **dict.fromkeys(("frames_asked", "frames_decoded", "frames_with_face", "faces"), looks),
            **ENGINE,
            "fingerprint": settings["measures"],
            "attempts": 1,
            "status": "ok",
        }
    )
    embedding = _unit(_near(person[of[seen]], rng))
    return {
        FACE_INFO.name: _whole(FACE_INFO, info),
        FACE_EMBEDDINGS.name: _whole(FACE_EMBEDDINGS, key.filter(pl.Series(seen)).with_columns(embedding=_lists(embedding))),
        FACE_FRAMES.name: _whole(FACE_FRAMES, frames),
        SHOT_BOUNDARIES.name: SHOT_BOUNDARIES.frame([]),
        RECORDINGS.name: RECORDINGS.frame([]),
        PIECES.name: PIECES.frame([]),
        FACE_CLIPS.name: _whole(FACE_CLIPS, clips),
    }


def _decisions(
    clip: Mapping[str, Any],
    surveyed: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    person: Any,
    captions: pl.Series,
    settings: Mapping[str, str],
    rng: Any,
) -> dict[str, pl.DataFrame]:
    count = CLIPS_PER_SHARD
    why = np.where(surveyed, "pose_variation_low", np.where(rng.random(count) < 0.5, "no_face", "face_too_small"))
    reason = _where(pl.Series(why), ~kept)
    ended = {"status": np.where(kept, "ok", "rejected"), "reason": reason, "keep": kept}
    later = {"status": np.where(kept, "ok", "skipped"), "reason": _where(pl.Series(["upstream"] * count), ~kept), "keep": kept}
    measured = {
        name: rng.random(count) * scale
        for name, scale in {
            "face_height_share": 0.6,
            "posed_share": 1,
            "sharpness": 200,
            "yaw_range_deg": 60,
            "pitch_range_deg": 30,
            "roll_range_deg": 20,
            "pose_variation_deg": 110,
            "pose_spread_deg": 60,
        }.items()
    }
    looks = np.where(surveyed, SURVEY_FACES, SCAN_LOOKS)
    pose = pl.DataFrame(
        clip
        | {"policy": "cofe", "policy_sha256": settings["pose_filtered_clips"]}
        | measured
        | {"frames": looks, "posed_frames": looks, "face_frame_share": 1.0, "several_faces_share": 0.0, "faces_in_frame": 1}
        | ended
    ).with_columns(reasons=pl.when(pl.col("reason").is_not_null()).then(pl.concat_list("reason")))
    centroid = _where(_lists(_unit(_near(person, rng))), kept)
    identity = {"policy": "pose_gap", "policy_sha256": settings["id_consistent_clips"], "centroid": centroid}
    gaps = pl.DataFrame({"shard": clip["shard"], "gap_from_deg": np.arange(18) * 10.0, **ENGINE}).with_columns(
        gap_to_deg=pl.col("gap_from_deg") + 10,
        pairs=pl.lit(50),
        measured=pl.lit(0.7),
        measured_spread=pl.lit(0.1),
        expected=pl.lit(0.7),
        spread=pl.lit(0.1),
        strangers=pl.lit(0.25),
    )
    lips = {name: _where(_lists(rng.random((count, 60))), kept) for name in ("mouth_openings", "mouth_times_s")}
    heard = {"has_audio": _where(pl.Series([True] * count), kept)} | ENGINE
    tagged = {
        "policy": "margins",
        "policy_sha256": settings["speech_tagged_clips"],
        "speaking_status": _where(pl.Series(["on_screen"] * count), kept),
        "source_caption": _where(captions, kept),
        "refined_caption": _where(captions, kept),
        "rewriter": _where(pl.Series(["rules-1"] * count), kept),
    }
    chosen = clip["clip_id"].filter(pl.Series(kept))
    crops = pl.DataFrame({"clip_id": chosen}).join(pl.DataFrame({"reference_index": range(8)}), how="cross")
    angles = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg", "box_x1", "box_y1", "sharpness"), 1.0)
    return {
        POSE_FILTERED_CLIPS.name: _whole(POSE_FILTERED_CLIPS, pose),
        ID_CONSISTENT_CLIPS.name: _whole(ID_CONSISTENT_CLIPS, pl.DataFrame(clip | identity | later)),
        SIMILARITY_BY_POSE_GAP.name: _whole(SIMILARITY_BY_POSE_GAP, gaps),
        SPEECH_INFO.name: _whole(SPEECH_INFO, pl.DataFrame(clip | lips | heard | later)),
        SPEECH_TAGGED_CLIPS.name: _whole(SPEECH_TAGGED_CLIPS, pl.DataFrame(clip | tagged | later)),
        REFERENCE_CROPS.name: _whole(
            REFERENCE_CROPS,
            crops.with_columns(
                shard=pl.lit(clip["shard"]),
                frame_index=pl.col("reference_index") * 12,
                pts=pl.lit(0),
                face_index=pl.lit(0),
                rotation=pl.lit([1.0] * 9),
                landmarks_px=pl.lit([1.0] * 10),
                box_x2=pl.lit(9.0),
                box_y2=pl.lit(9.0),
                mask=pl.lit("oval"),
                status=pl.lit("ok"),
                **{name: pl.lit(value) for name, value in angles.items()},
            ),
        ),
    }


@lru_cache(maxsize=1)
def _persons() -> Any:
    """(60,000, 92), the same in every shard."""
    return np.random.default_rng(1).standard_normal((PERSONS, PERSON_AXES)).astype(np.float32)


def _near(person: Any, rng: Any) -> Any:
    """(N, 512) embeddings of those persons: cosine about 0.8 between two of one person."""
    own = person / np.linalg.norm(person, axis=1, keepdims=True)
    noise = rng.standard_normal(person.shape).astype(np.float32)
    return (0.9 * own + 0.43 * noise / np.linalg.norm(noise, axis=1, keepdims=True)) @ _AXES.T


def _unit(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _lists(rows: Any) -> pl.Series:
    return pl.Series("", np.ascontiguousarray(rows)).arr.to_list() if len(rows) else pl.Series("", [], dtype=pl.List(pl.Float64))


def _where(values: Any, there: Any) -> pl.Series:
    """The values, NULL where they are not there."""
    frame = pl.DataFrame({"value": values, "there": there})
    return frame.select(pl.when("there").then("value")).to_series()


def _whole(table: TableSchema, frame: pl.DataFrame) -> pl.DataFrame:
    """The table's columns of `frame`; NULL where it has none, which the contract then allows."""
    return table.frame(
        frame.select(
            (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
            for name, dtype in table.dtypes.items()
        )
    )
