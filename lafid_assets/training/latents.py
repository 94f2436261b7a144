"""Everything frozen about the dataset's clips, computed once and cached in parts.

Belongs here: which parts are missing, the rows that say what is cached, the list that training reads. Not here: what a part
depends on (`part_recipes`), shards and lists as files (`model.clips.latent_shards`, `model.clips.clip_list`), removing parts
(`sweep`).
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.progress import track
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training.face_views import ClipViews, MeasuredFaces, views_of
from lafid_assets.training.part_recipes import Row, recipes
from lafid_assets.training.time_window import window_start_s
from model.clips.clip_list import SHARDS, ClipEntry, ClipMeta, Place, write_clip_list
from model.presets import Bucket, ClipSize, Preset
from resources.file_store import FileStore

if TYPE_CHECKING:
    from model.clips.latent_shards import ShardWriter
    from model.encoding.encoders import ClipEncoders

LOGGER = logging.getLogger("lafid.training")
FOLDER = "latents"


@dataclass(frozen=True)
class _Cached:
    """How one clip ended: its size, its views and the keys of its parts, or why it has none."""

    bucket: Bucket | None
    start_s: float | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    views: ClipViews | None = None
    status: Status = Status.OK
    reason: Reason | None = None
    detail: str | None = None


def shards_folder(store: FileStore) -> Path:
    """Where the shards lie."""
    return store.local_path(f"{FOLDER}/{SHARDS}")


def encode_dataset(
    dataset: pl.DataFrame, faces: pl.DataFrame, chosen: Preset, base_dir: Path, semantic_dir: Path | None, store: FileStore
) -> pl.DataFrame:
    """Encode what is not cached yet of every clip, and write the list of those that training can read.

    A clip that cannot be read, or that no longer is the one that the dataset knows, costs no other clip anything.

    Args:
        dataset: rows of `lafid_dataset`.
        faces: what was measured of those that `face_views.asked_faces` asks for.
        semantic_dir: the vision encoder's folder, where the preset wants one.

    Returns:
        rows of `training_latents`, one for each row of `dataset`.
    """
    from model.bases.base import ENCODERS, load_base
    from model.clips.latent_shards import ShardWriter
    from model.encoding.encoders import ClipEncoders

    base = load_base(base_dir, weights=ENCODERS)
    encoders = ClipEncoders(base, chosen.encoders, semantic_dir)
    clips, measured = dataset.sort("clip_id"), MeasuredFaces(faces)
    with ShardWriter(shards_folder(store)) as shards:
        for name in shards.torn:
            LOGGER.warning("shard %s is torn: what it held and is still needed is encoded again", name)
        lines = track(
            clips.iter_rows(named=True), "training_latents", clips.height, lambda: f"{shards.written_bytes / 1e9:.2f} GB new"
        )
        cached = [_cache(clip, measured, chosen.clip, encoders, shards) for clip in lines]
    entries = [
        _entry(clip, one, chosen.clip, encoders, shards)
        for clip, one in zip(clips.iter_rows(named=True), cached, strict=True)
        if one.status == Status.OK
    ]
    clip_list = f"{FOLDER}/clips-{_digest(entries)}.parquet"
    write_clip_list(store.local_path(clip_list), entries)
    known = {
        "encoders_fingerprint": encoders.fingerprint,
        "semantic_encoder": None if semantic_dir is None else str(semantic_dir),
        "clip_list": clip_list,
    }
    rows = TRAINING_LATENTS.frame(
        _row(clip, one, shards) | known for clip, one in zip(clips.iter_rows(named=True), cached, strict=True)
    )
    _tell_losses(rows)
    return rows


def intact(latents: pl.DataFrame, store: FileStore) -> bool:
    """Whether all that the rows name is there and readable; a clip that failed counts as missing, for its file may be back."""
    from model.clips.latent_shards import read_index

    if Status.ERROR in latents["status"]:
        return False
    places = read_index(shards_folder(store)).places
    named = {(part["key"], part["shard"]) for parts in latents["parts"] for part in parts}
    lists = latents["clip_list"].unique()
    return all(places.get(key) == shard for key, shard in named) and all(store.exists(path) for path in lists)


def clip_list_of(latents: pl.DataFrame, store: FileStore) -> Path:
    """The list that training reads.

    Raises:
        ValueError: the dataset is empty.
    """
    if latents.is_empty():
        raise ValueError("the dataset has no clips to train on: curate more, or loosen the policies before it")
    return store.local_path(latents["clip_list"][0])


def count(latents: pl.DataFrame) -> dict[str, int]:
    """Clips by size, and by why they have none; the numbers add up to the dataset's clips."""
    cached = latents.filter(pl.col("status") == Status.OK)
    sizes = cached.group_by("frames", "height", "width").len().sort("frames", "height", "width")
    left_out = latents.filter(pl.col("status") != Status.OK).group_by("status", "reason").len().sort("status", "reason")
    return {f"clips of {frames} x {height} x {width}": clips for frames, height, width, clips in sizes.rows()} | {
        f"clips {status}: {reason}": clips for status, reason, clips in left_out.rows()
    }


def without_first_face(latents: pl.DataFrame) -> int:
    """Clips for whose first frame's face the view nearest in time stands in."""
    return int((~latents["first_frame_measured"]).sum())


def _cache(clip: Row, measured: MeasuredFaces, size: ClipSize, encoders: "ClipEncoders", shards: "ShardWriter") -> _Cached:
    bucket = size.bucket_for(clip["duration_s"], clip["height"], clip["width"])
    if bucket is None:
        shortest_s = size.window_s(size.buckets[0])
        detail = f"{clip['duration_s']:.2f} s are not longer than the shortest window, {shortest_s:.2f} s"
        return _Cached(None, status=Status.SKIPPED, reason=Reason.TOO_SHORT, detail=detail)
    start_s = window_start_s(clip, size)
    try:
        found = views_of(clip, size, start_s, measured.of(clip["clip_id"]))
        wanted = recipes(clip, size, bucket, start_s, found.views, encoders)
        for recipe in wanted.values():
            if recipe.key not in shards:
                shards.add(recipe.key, recipe.compute())
    except ClipError as error:
        return _Cached(None, status=Status.ERROR, reason=error.reason, detail=error.detail)
    return _Cached(bucket, start_s, {part: recipe.key for part, recipe in wanted.items()}, found)


def _entry(clip: Row, cached: _Cached, size: ClipSize, encoders: "ClipEncoders", shards: "ShardWriter") -> ClipEntry:
    assert cached.bucket is not None
    assert cached.views is not None
    meta = ClipMeta(
        clip_id=clip["clip_id"],
        caption=clip["refined_caption"] or "",
        bucket=cached.bucket,
        fps=size.fps,
        identity_id=clip["identity_id"],
        face_engine=clip["engine"],
        face_engine_version=clip["engine_version"],
        base_sha256=encoders.base.info.sha256,
        encoders_fingerprint=encoders.fingerprint,
        mask=clip["references"][0]["mask"],
        mask_sha256=clip["references"][0]["mask_sha256"],
    )
    parts = {part: Place(key, shards.place(key)) for part, key in cached.keys.items()}
    return ClipEntry(meta, clip["split"], parts, [view.angles_deg for view in cached.views.views])


def _row(clip: Row, cached: _Cached, shards: "ShardWriter") -> dict[str, Any]:
    sizes = dict.fromkeys(Bucket._fields) if cached.bucket is None else cached.bucket._asdict()
    parts = [{"part": part, "key": key, "shard": shards.place(key)} for part, key in sorted(cached.keys.items())]
    known = {name: clip[name] for name in ("clip_id", "split", "dataset_version")}
    outcome = {"status": cached.status, "reason": cached.reason, "detail": cached.detail}
    first_frame_measured = None if cached.views is None else cached.views.first_frame_measured
    return known | sizes | {"start_s": cached.start_s, "first_frame_measured": first_frame_measured, "parts": parts} | outcome


def _digest(entries: Sequence[ClipEntry]) -> str:
    """Over what training reads, wherever it lies: the same clips make the same list."""
    facts = [
        [
            entry.meta.model_dump(mode="json"),
            entry.split,
            entry.angles_deg,
            sorted((part, place.key) for part, place in entry.parts.items()),
        ]
        for entry in entries
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _tell_losses(rows: pl.DataFrame) -> None:
    lost = rows.filter(pl.col("status") == Status.ERROR)
    if lost.height:
        first = lost.row(0, named=True)
        LOGGER.warning(
            "%d of %d clips could not be cached and will not be trained on, the first %s: %s",
            lost.height,
            rows.height,
            first["clip_id"],
            first["detail"],
        )
    short = rows.filter(pl.col("reason") == Reason.TOO_SHORT).height
    if short:
        LOGGER.warning("%d of %d clips are too short for every length of the preset", short, rows.height)
    if faceless := without_first_face(rows):
        LOGGER.info(
            "the face of %d of %d clips was not measured in their first frame: the view nearest in time stands for it",
            faceless,
            rows.height,
        )
