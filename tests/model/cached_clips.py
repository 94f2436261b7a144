"""Cached clips as tests and benchmarks make them, and one clip put together again from its parts.

Belongs here: what no product code needs, for training reads batches alone (`model.clips.clip_set`).
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.bases.base import load_base
from model.bases.build import build_tiny_base
from model.bases.conditions import Condition
from model.clip_size import ClipSize
from model.clips.clip_list import SHARDS, ClipEntry, ClipMeta, Place, write_clip_list
from model.clips.clip_parts import (
    CONDITION_TENSORS,
    condition_part,
    detail_part,
    face_part,
    picture_part,
    semantic_part,
    text_part,
    video_part,
    views_part,
)
from model.clips.clip_set import ClipSet
from model.clips.latent_shards import Tensors, shard_name, write_parts
from model.encoding.encoders import ClipEncoders
from model.encoding.face_features import FaceViews
from model.encoding.views import encode_views
from model.files import whole_file


def write_shard(root: Path, folder: str, parts: Mapping[str, Tensors]) -> str:
    """Parts by key as one shard in a folder of `root` on this disk, whole or not at all; its name."""
    name = shard_name(folder, parts)
    with whole_file(root / name) as temporary:
        write_parts(temporary, parts)
    return name


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """One clip, everything frozen already run; float tensors on the CPU."""

    meta: ClipMeta
    latents: torch.Tensor  # (C, T', h, w)  normalised mean of the VAE's distribution
    text: torch.Tensor  # (L, D)            real rows only, L <= 512
    null_text: torch.Tensor  # (N, D)       the empty caption, for guidance
    views: FaceViews  # at least one of the clip's own face, spread over pose and expression; last that of its first frame
    spread: torch.Tensor | None = None  # (C, T', h, w)  normalised standard deviation; None: the codec has no spread
    text_plain: torch.Tensor | None = None  # (M, D)     the caption without its speech sentence; None: it has none
    face_boxes: torch.Tensor | None = None  # (T', 4)    x1 y1 x2 y2 in shares of the frame; NaN: the face was not seen
    condition: Condition | None = None  # what the base is given of the clip, batch size 1; None: nothing. The picture is a view's


def parts_of(clip: ClipLatents) -> dict[str, Tensors]:
    """All parts of a clip, by name; those that it lacks are missing."""
    views = clip.views
    parts = {
        "video": video_part(clip.latents, clip.spread),
        "text": text_part(clip.text),
        "text_empty": text_part(clip.null_text),
        "face": face_part(views.identity, clip.face_boxes),
        "semantic": semantic_part(views.semantic),
        "detail": detail_part(views.detail),
        "views": views_part(views.latents),
    }
    if clip.text_plain is not None:
        parts["text_plain"] = text_part(clip.text_plain)
    if views.picture is not None:
        parts["picture"] = picture_part(views.picture)
    fields = {} if clip.condition is None else clip.condition._asdict()
    return parts | {part: condition_part(part, field) for part, field in fields.items() if field is not None}


def read_clip(clips: ClipSet, index: int) -> ClipLatents:
    """The clip whose parts `parts_of` gave, as it lies in the cache."""
    entry = clips.entry(index)

    def there(part: str, name: str) -> torch.Tensor:
        tensor = clips._find(entry, part, name)
        assert tensor is not None, f"{part} has no {name}"
        return tensor

    condition = {part: there(part, name)[None] for part, name in CONDITION_TENSORS.items() if part in entry.parts}
    return ClipLatents(
        meta=entry.meta,
        latents=there("video", "mean"),
        spread=clips._find(entry, "video", "spread"),
        text=there("text", "rows"),
        text_plain=there("text_plain", "rows") if "text_plain" in entry.parts else None,
        null_text=there("text_empty", "rows"),
        views=FaceViews(
            identity=there("face", "identity"),
            semantic=there("semantic", "states"),
            detail=there("detail", "tokens"),
            angles_deg=torch.tensor(entry.angles_deg),
            latents=there("views", "latents"),
            picture=there("picture", "latents") if "picture" in entry.parts else None,
        ),
        face_boxes=clips._find(entry, "face", "boxes"),
        condition=Condition(**condition) if condition else None,
    )


def encode_clip(encoders: ClipEncoders, frames: NDArray[np.uint8], views: FaceViews, meta: ClipMeta) -> ClipLatents:
    """All that training reads of one clip, in memory.

    Args:
        frames: (T, H, W, 3) at the preset's size and rate.
        views: of the clip's face, last that of its first frame.
        meta: its caption is the one encoded.
    """
    moments = encoders.moments(frames)
    return ClipLatents(
        latents=moments.mean.cpu(),
        spread=None if moments.spread is None else moments.spread.cpu(),
        text=encoders.text(meta.caption).cpu(),
        null_text=encoders.text("").cpu(),
        views=views,
        condition=encoders.condition(frames),
        meta=meta,
    )


def write_clips(folder: Path, clips: Iterable[ClipLatents], split: Callable[[ClipLatents], str] = lambda _: "train") -> Path:
    """Clips that are in memory as a shard and a clip list, keyed by the tensors themselves; gives the list's path."""
    entries: list[tuple[ClipLatents, dict[str, str]]] = []
    stored: dict[str, Tensors] = {}
    for clip in clips:
        parts = parts_of(clip)
        keys = {part: _digest(tensors) for part, tensors in parts.items()}
        stored |= {keys[part]: tensors for part, tensors in parts.items()}
        entries.append((clip, keys))
    shard = write_shard(folder / SHARDS, "", stored)
    path = folder / "clips.parquet"
    write_clip_list(
        path,
        (
            ClipEntry(
                clip.meta, split(clip), {part: Place(key, shard) for part, key in keys.items()}, clip.views.angles_deg.tolist()
            )
            for clip, keys in entries
        ),
    )
    return path


def noise_clips(folder: Path, size: ClipSize, count: int) -> Path:
    """The tiny base in `folder/tiny`, and clips of noise that it encoded; gives their list's path."""
    build_tiny_base(folder / "tiny")
    base = load_base(folder / "tiny", "cpu")
    encoders = ClipEncoders(base)
    clips = []
    for number in range(count):
        dice = np.random.default_rng(number)
        frames = dice.integers(0, 256, (size.frames, size.height, size.width, 3), np.uint8)
        meta = ClipMeta(
            clip_id=f"clip-{number}",
            caption="noise",
            bucket=size.bucket,
            fps=size.fps,
            identity_id=f"person-{number}",
            face_engine="none",
            face_engine_version="1",
            base_sha256=base.info.sha256,
            encoders_fingerprint=encoders.fingerprint,
        )
        embeddings = dice.standard_normal((size.frames, 16)).astype(np.float32)
        angles_deg = np.linspace(-40, 40, 3 * size.frames).reshape(size.frames, 3)
        views = encode_views(encoders, list(frames), embeddings, angles_deg, size.view_side, (size.height, size.width))
        clips.append(encode_clip(encoders, frames, views, meta))
    return write_clips(folder, clips)


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
