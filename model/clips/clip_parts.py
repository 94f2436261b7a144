"""What is frozen of one clip, as parts that are cached apart: each changes when what it depends on does, and only then.

Belongs here: the parts, their tensors' names and shapes, and a clip put together from them. Not here: how the tensors come
about (`encoding.encoders`), under which key they lie (curation), the files (`latent_shards`, `clip_list`).

| part | tensors | depends on |
|---|---|---|
| video | mean, spread | the clip, its cut, the VAE |
| text, text_plain, text_empty | rows | a text, the text encoder |
| face | identity, angles_deg, boxes | what curation measured |
| semantic | states | the crops, the vision encoder |
| detail | tokens | the first crop, the detail encoder |
| views | latents | the crops, the VAE |
| control | latents | i2v: the clip's first frame, its cut, the VAE; VACE: size and VAE alone, so that clips share it |
| image_embeds | rows | the clip's first frame, the base's CLIP |
| picture | latents | the first crop, the clip's size, the VAE |

The last three are what the base is given of pictures (`conditions.Condition`), where it takes some.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from model.bases.conditions import Condition
from model.clips.clip_list import SHARDS, ClipEntry, ClipMeta, Place, write_clip_list
from model.clips.latent_shards import ShardWriter, Tensors
from model.encoding.face_features import FaceViews

if TYPE_CHECKING:
    from model.encoding.encoders import ClipEncoders

CLIP_LIST = "clips.parquet"
CONDITION_TENSORS = {"control": "latents", "image_embeds": "rows", "picture": "latents"}
"""Parts of a condition, which are its fields, and the name of the one tensor in each."""


@dataclass(frozen=True, eq=False)
class ClipLatents:
    """One clip, everything frozen already run; float tensors on the CPU."""

    meta: ClipMeta
    latents: torch.Tensor  # (C, T', h, w)  normalised mean of the VAE's distribution
    text: torch.Tensor  # (L, D)            real rows only, L <= 512
    null_text: torch.Tensor  # (N, D)       the empty caption, for guidance
    identity: torch.Tensor  # (E,)          unit length
    semantic: torch.Tensor  # (S, D_s)
    detail: torch.Tensor  # (P, D_d)
    spread: torch.Tensor | None = None  # (C, T', h, w)  normalised standard deviation; None: the codec has no spread
    text_plain: torch.Tensor | None = None  # (M, D)     the caption without its speech sentence; None: it has none
    face_boxes: torch.Tensor | None = None  # (T', 4)    x1 y1 x2 y2 in shares of the frame; NaN: the face was not seen
    views: FaceViews | None = None  # of the clip's own face; the first is the one that identity, semantic and detail tell of
    condition: Condition | None = None  # what the base is given of pictures, batch size 1; None: nothing


def video_part(mean: torch.Tensor, spread: torch.Tensor | None) -> Tensors:
    """Mean and spread (C, T', h, w), both normalised; the spread in half the bytes, which keeps three of its digits."""
    return _present(mean=mean, spread=None if spread is None else spread.bfloat16())


def text_part(rows: torch.Tensor) -> Tensors:
    """Real rows (L, D) of an encoded text."""
    return {"rows": rows}


def face_part(identity: torch.Tensor, angles_deg: torch.Tensor | None, boxes: torch.Tensor | None) -> Tensors:
    """Identity (E,), of unit length; angles (V, 3) of the views; boxes (T', 4)."""
    return _present(identity=identity, angles_deg=angles_deg, boxes=boxes)


def semantic_part(states: torch.Tensor) -> Tensors:
    """(V, S, D_s): of every view, the first one's for the semantic expert."""
    return {"states": states}


def detail_part(tokens: torch.Tensor) -> Tensors:
    """(P, D_d)."""
    return {"tokens": tokens}


def views_part(latents: torch.Tensor) -> Tensors:
    """(V, C, h, w)."""
    return {"latents": latents}


def condition_part(part: str, field: torch.Tensor) -> Tensors:
    """A field of a condition, batch size 1; the part is named after it."""
    return {CONDITION_TENSORS[part]: field[0]}


def parts_of(clip: ClipLatents) -> dict[str, Tensors]:
    """All parts of a clip, by name; those that it lacks are missing."""
    views = clip.views
    parts = {
        "video": video_part(clip.latents, clip.spread),
        "text": text_part(clip.text),
        "text_empty": text_part(clip.null_text),
        "face": face_part(clip.identity, None if views is None else views.angles_deg, clip.face_boxes),
        "semantic": semantic_part(clip.semantic[None] if views is None else views.semantic),
        "detail": detail_part(clip.detail),
    }
    if clip.text_plain is not None:
        parts["text_plain"] = text_part(clip.text_plain)
    if views is not None:
        parts["views"] = views_part(views.latents)
    fields = {} if clip.condition is None else clip.condition._asdict()
    return parts | {part: condition_part(part, field) for part, field in fields.items() if field is not None}


def clip_from_parts(meta: ClipMeta, parts: Iterable[str], read: Callable[[str, str], torch.Tensor | None]) -> ClipLatents:
    """The clip whose parts `parts_of` gave.

    Args:
        parts: names of those that there are.
        read: a part's name and a tensor's to that tensor, or None where the part has none of that name.
    """

    def there(part: str, name: str) -> torch.Tensor:
        tensor = read(part, name)
        assert tensor is not None, f"{part} has no {name}"
        return tensor

    states, known = there("semantic", "states"), set(parts)
    condition = {part: there(part, name)[None] for part, name in CONDITION_TENSORS.items() if part in known}
    views = FaceViews(there("views", "latents"), states, there("face", "angles_deg")) if "views" in known else None
    return ClipLatents(
        meta=meta,
        latents=there("video", "mean"),
        spread=read("video", "spread"),
        text=there("text", "rows"),
        text_plain=there("text_plain", "rows") if "text_plain" in known else None,
        null_text=there("text_empty", "rows"),
        identity=there("face", "identity"),
        semantic=states[0],
        detail=there("detail", "tokens"),
        face_boxes=read("face", "boxes"),
        views=views,
        condition=Condition(**condition) if condition else None,
    )


def encode_clip(
    encoders: "ClipEncoders",
    frames: NDArray[np.uint8],
    crop: NDArray[np.uint8],
    embedding: NDArray[np.float32],
    meta: ClipMeta,
) -> ClipLatents:
    """All that training reads of one clip but its views (`encoding.views.encode_views`), in memory; for tests and benchmarks.

    Args:
        frames: (T, H, W, 3) at the preset's size and rate.
        crop: (h, w, 3), head and shoulders.
        embedding: (E,), the reference's identity by the engine that `meta` names.
        meta: its caption is the one encoded.
    """
    face, moments = encoders.face(crop, embedding), encoders.moments(frames)
    return ClipLatents(
        latents=moments.mean.cpu(),
        spread=None if moments.spread is None else moments.spread.cpu(),
        text=encoders.text(meta.caption).cpu(),
        null_text=encoders.text("").cpu(),
        identity=face.identity[0].cpu(),
        semantic=face.semantic[0].cpu(),
        detail=face.detail[0].cpu(),
        condition=encoders.condition(frames, crop),
        meta=meta,
    )


def write_clips(folder: Path, clips: Iterable[ClipLatents], split: Callable[[ClipLatents], str] = lambda _: "train") -> Path:
    """Clips that are in memory as shards and a clip list, keyed by the tensors themselves; gives the list's path."""
    entries: list[tuple[ClipLatents, dict[str, str]]] = []
    with ShardWriter(folder / SHARDS) as shards:
        for clip in clips:
            keys = {}
            for part, tensors in parts_of(clip).items():
                keys[part] = _digest(tensors)
                shards.add(keys[part], tensors)
            entries.append((clip, keys))
    path = folder / CLIP_LIST
    write_clip_list(
        path,
        (
            ClipEntry(clip.meta, split(clip), {part: Place(key, shards.place(key)) for part, key in keys.items()})
            for clip, keys in entries
        ),
    )
    return path


def _present(**tensors: torch.Tensor | None) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
