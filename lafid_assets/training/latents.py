"""Everything frozen about the dataset's clips, a shard at a time: encoded once, cached in parts, and the rows that say so.

Belongs here: a shard's clips -> its rows of `training_latents`, and whether what they name is there. Not here: which parts a clip
has (`shard_plan`, `cache_parts`), encoding (`encoding`), the list that training reads (`cached_clips`), removing parts
(`cache_sweep`).
"""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training.encoding import SHARDS_FOLDER, Cache, children_here, encode_files, read_cache
from lafid_assets.training.precompute_estimate import decoding_core_s, forecast
from lafid_assets.training.shard_plan import PlannedClip, PlannedFile, ShardPlan, plan_shard
from lafid_assets.workers.exit_reasons import TRIED_AGAIN
from model.bases.digests import INFO_FILE, recorded_digest
from model.clip_size import Bucket
from model.model_store.vision import vision_name
from model.presets import Preset
from resources.face_engine import model_store
from resources.store.file_store import FileStore

if TYPE_CHECKING:
    from model.encoding.encoders import ClipEncoders

LOGGER = logging.getLogger("lafid.training")


@dataclass(frozen=True)
class Encoding:
    """What encodes clips: a preset's encoders, loaded.

    Attributes:
        semantic_dir: the vision encoder's folder, where the preset wants one.
    """

    chosen: Preset
    encoders: "ClipEncoders"
    semantic_dir: Path | None = None


def load_encoding(chosen: Preset, base_dir: Path, semantic_dir: Path | None = None) -> Encoding:
    """The encoders on this process's device. The text encoder runs in the precision of training, as the base's own pipeline does;
    the VAE in float32.

    Raises:
        NoGpuLeft: other processes have all GPUs.
    """
    import torch

    from model.bases.base import ENCODERS, load_base
    from model.encoding.encoders import ClipEncoders
    from resources.gpu import own_device

    dtype = torch.bfloat16 if chosen.train.precision == "bfloat16" else None
    base = load_base(base_dir, own_device(), dtype, weights=ENCODERS)
    return Encoding(chosen, ClipEncoders(base, chosen.encoders, semantic_dir), semantic_dir)


def encode_shard(shard: str, clips: pl.DataFrame, faces: pl.DataFrame, encoding: Encoding, store: FileStore) -> pl.DataFrame:
    """Encode what is not cached yet of every clip of a shard.

    A clip that cannot be read, or that no longer is the one that the dataset knows, costs no other clip anything.

    Args:
        clips: the shard's rows of `lafid_dataset`.
        faces: what was measured of those that `face_views.asked_faces` asks for.

    Returns:
        rows of `training_latents`, one for each of `clips`.
    """
    plan = plan_shard(shard, clips, faces, encoding.chosen, encoding.encoders)
    cache = read_cache(store, shard)
    _tell_what_is_to_do(plan, cache, encoding)
    encode_files(plan.files, encoding.chosen.clip, encoding.encoders, cache, f"training_latents {shard}")
    # What a faulty clip shares with others lies in no file yet.
    if lacking := [clip for clip in plan.clips if _is_whole(clip, cache) is False]:
        keys = frozenset(key for clip in lacking for key in clip.keys.values())
        encode_files([PlannedFile(shard, tuple(lacking), keys, 0)], encoding.chosen.clip, encoding.encoders, cache)
    rows = TRAINING_LATENTS.frame(_row(clip, plan, cache, encoding) for clip in plan.clips)
    _tell_losses(rows)
    return rows


def intact(latents: pl.DataFrame, store: FileStore) -> bool:
    """Whether all that a shard's rows name is there and readable. A clip that failed counts as missing where another try may end
    otherwise: its file may be back."""
    from model.clips.latent_shards import read_index

    if latents["reason"].is_in(list(TRIED_AGAIN)).any():
        return False
    named = {(part["key"], part["shard"]) for parts in latents["parts"] for part in parts}
    folders = {Path(file).parent.as_posix() for _, file in named}
    places = {key: file for folder in folders for key, file in read_index(store, SHARDS_FOLDER, folder).places.items()}
    return all(places.get(key) == file for key, file in named)


def encoded_with(latents: pl.DataFrame, base_path: str, store: FileStore) -> bool:
    """Whether it was the base at that path, for another one may have been adopted under its name; true where none lies there."""
    recorded = recorded_digest(store.fetch(f"{base_path}/{INFO_FILE}").parent)
    return recorded is None or latents.filter(pl.col("base_sha256") != recorded).is_empty()


def count(latents: pl.DataFrame) -> dict[str, int]:
    """Clips by size, and by why they have none; the numbers add up to the shard's clips."""
    cached = latents.filter(pl.col("status") == Status.OK)
    sizes = cached.group_by("frames", "height", "width").len().sort("frames", "height", "width")
    left_out = latents.filter(pl.col("status") != Status.OK).group_by("status", "reason").len().sort("status", "reason")
    return {f"clips of {frames} x {height} x {width}": clips for frames, height, width, clips in sizes.rows()} | {
        f"clips {status}: {reason}": clips for status, reason, clips in left_out.rows()
    }


def without_first_face(latents: pl.DataFrame) -> int:
    """Clips for whose first frame's face the view nearest in time stands in."""
    return int((~latents["first_frame_measured"]).sum())


def _is_whole(clip: PlannedClip, cache: Cache) -> bool | None:
    """Whether all parts of a clip are there; None of one that has none, or is known to be faulty."""
    if clip.bucket is None or clip.row["clip_id"] in cache.faults:
        return None
    return all(key in cache.places for key in clip.keys.values())


def _tell_what_is_to_do(plan: ShardPlan, cache: Cache, encoding: Encoding) -> None:
    sizes: Counter[Bucket] = Counter()
    core_s = 0.0
    for file in plan.files:
        missing = file.missing(cache.places)
        pictured = ({one.key for one in clip.pictured.values() if one.needs} for clip in file.clips)
        for clip, keys in zip(file.clips, pictured, strict=True):
            if clip.bucket and keys & missing:
                sizes[clip.bucket] += 1
                core_s += decoding_core_s(*(clip.row[name] for name in ("duration_s", "height", "width")))
    if sizes:
        told = forecast(sizes, core_s, encoding.chosen, encoding.encoders).line(children_here())
        LOGGER.info("training_latents %s: of %d clips %s", plan.shard, len(plan.clips), told)


def _row(clip: PlannedClip, plan: ShardPlan, cache: Cache, encoding: Encoding) -> dict[str, Any]:
    fault = clip.fault or cache.faults.get(clip.row["clip_id"])
    bucket, views = (None, None) if fault else (clip.bucket, clip.views)
    keys = {} if fault else clip.keys
    known = {name: clip.row[name] for name in ("clip_id", "split", "dataset_version")}
    sizes = dict.fromkeys(Bucket._fields) if bucket is None else bucket._asdict()
    outcome = {"status": Status.OK, "reason": None, "detail": None} if fault is None else fault._asdict()
    return (
        known
        | sizes
        | {
            "shard": plan.shard,
            "fps": plan.chosen.clip.fps,
            "start_s": None if fault else clip.start_s,
            "first_frame_measured": None if views is None else views.first_frame_measured,
            "angles_deg": [] if views is None else [list(view.angles_deg) for view in views.views],
            "parts": [{"part": part, "key": key, "shard": cache.places[key]} for part, key in sorted(keys.items())],
            "base_sha256": encoding.encoders.base.info.sha256,
            "encoders_fingerprint": encoding.encoders.fingerprint,
            "semantic_encoder": None if encoding.semantic_dir is None else vision_name(model_store(), encoding.semantic_dir),
        }
        | outcome
    )


def _tell_losses(rows: pl.DataFrame) -> None:
    lost = rows.filter(pl.col("status").is_in([Status.ERROR, Status.TIMEOUT]))
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
