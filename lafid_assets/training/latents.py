"""Everything frozen about a clip, computed once and cached by content.

Belongs here: which clips need encoding and under which key. Not here: encoders and file format (`model.encoders`, `model.data`).
"""

import hashlib
import io
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl

from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.progress import track
from lafid_assets.schemas import TRAINING_LATENTS
from model.presets import ClipSize
from resources.shard_store import ShardStore

LOGGER = logging.getLogger("lafid.training")
FOLDER = "latents"


def encode_dataset(dataset: pl.DataFrame, clip_size: ClipSize, base_dir: Path, store: ShardStore) -> pl.DataFrame:
    """Encode every clip whose key is not in the cache yet; clips not longer than the training window are left out.

    Returns:
        rows of `training_latents`, cached clips included.

    Raises:
        ClipError: a clip of the dataset cannot be read any more; what was encoded stays in the cache.
    """
    from model.base import load_base
    from model.encoders import ClipEncoders

    base = load_base(base_dir)
    encoders = ClipEncoders(base)
    long_enough = dataset.filter(pl.col("duration_s") > clip_size.duration_s).sort("clip_id")
    if long_enough.height < dataset.height:
        short = dataset.height - long_enough.height
        LOGGER.warning("%d clips are not longer than %.2f s and cannot be trained on", short, clip_size.duration_s)
    rows = []
    for clip in track(long_enough.iter_rows(named=True), "training_latents", long_enough.height):
        key = _cache_key(clip, clip_size, encoders.fingerprint)
        path = f"{FOLDER}/{key[:2]}/{key}.safetensors"
        if not store.exists(path):
            _encode(clip, clip_size, encoders, base.info.sha256, store.local_path(path), store)
        rows.append(
            {
                "clip_id": clip["clip_id"],
                "cache_key": key,
                "latents_path": path,
                "frames": clip_size.frames,
                "height": clip_size.height,
                "width": clip_size.width,
                "file_size_bytes": store.local_path(path).stat().st_size,
                "split": clip["split"],
                "encoders_fingerprint": encoders.fingerprint,
                "dataset_version": clip["dataset_version"],
            }
        )
    return TRAINING_LATENTS.frame(rows)


def files_of(latents: pl.DataFrame, split: str, store: ShardStore) -> list[Path]:
    """Local paths of a split's cached clips, in the order of their ids."""
    return [store.local_path(path) for path in latents.filter(pl.col("split") == split).sort("clip_id")["latents_path"]]


def all_present(paths: Iterable[str], store: ShardStore) -> bool:
    """Whether every file still lies in the store."""
    return all(store.exists(path) for path in paths)


def _cache_key(clip: dict[str, Any], clip_size: ClipSize, encoders_fingerprint: str) -> str:
    facts = [
        clip["content_sha256"],
        clip["refined_caption"],
        clip["references"][: clip_size.views],
        clip["identity_id"],
        clip["identity_embedding"],
        clip["engine"],
        clip["engine_version"],
        clip_size.model_dump(),
        encoders_fingerprint,
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _encode(clip: dict[str, Any], clip_size: ClipSize, encoders: Any, base_sha256: str, target: Path, store: ShardStore) -> None:
    from dataclasses import replace

    import numpy as np

    from model.data import ClipMeta, write_clip_latents
    from model.head_mask import MaskInfo
    from model.video_io import fit_frames, frame_times, read_frames
    from model.views import encode_views

    path = resolve(Path(clip["clip_root"]), clip["path"])
    if path is None:
        raise ClipError(Reason.UNREADABLE, f"{clip['path']} has disappeared: put it back, or materialize raw_clips again")
    video = read_frames(path, frame_times(clip_size.frames, clip_size.fps))
    references = clip["references"][: clip_size.views]
    crops = [_head(clip["clip_id"], reference, store) for reference in references]
    angles = [[reference[f"{angle}_deg"] for angle in ("yaw", "pitch", "roll")] for reference in references]
    meta = ClipMeta(
        clip_id=clip["clip_id"],
        caption=clip["refined_caption"] or "",
        fps=clip_size.fps,
        identity_id=clip["identity_id"],
        face_engine=clip["engine"],
        face_engine_version=clip["engine_version"],
        base_sha256=base_sha256,
        encoders_fingerprint=encoders.fingerprint,
        head_mask=MaskInfo(name=references[0]["mask"], sha256=references[0]["mask_sha256"]),
    )
    x1, y1, x2, y2 = (references[0][f"box_{side}"] for side in ("x1", "y1", "x2", "y2"))
    frames = fit_frames(video, clip_size.height, clip_size.width, ((x1 + x2) / 2, (y1 + y2) / 2))
    embedding = np.asarray(clip["identity_embedding"], np.float32)
    views = encode_views(encoders, crops, np.asarray(angles, np.float32), clip_size.view_side)
    write_clip_latents(target, replace(encoders.encode_clip(frames, crops[0], embedding, meta), views=views))


def _head(clip_id: str, reference: dict[str, Any], store: ShardStore) -> Any:
    """(H, W, 3) uint8 RGB: head and shoulders on white, as `reference_crops` cut them."""
    import numpy as np
    from PIL import Image

    if reference["head_path"] is None or not store.exists(reference["head_path"]):
        raise ClipError(
            Reason.UNREADABLE, f"the reference pictures of {clip_id} are not in the store: materialize reference_crops again"
        )
    return np.array(Image.open(io.BytesIO(store.read_bytes(reference["head_path"]))).convert("RGB"))
