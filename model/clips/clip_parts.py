"""What is frozen of one clip, as parts that are cached apart: each changes when what it depends on does, and only then.

Belongs here: the parts, their tensors' names and shapes, and a clip put together from them. Not here: how the tensors come
about (`encoding.encoders`), under which key they lie (curation), the files (`latent_shards`, `clip_list`).

| part | tensors | depends on |
|---|---|---|
| video | mean, spread | the clip, its cut, the VAE |
| text, text_plain, text_empty | rows | a text, the text encoder |
| face | identity, boxes | what curation measured |
| semantic | states | the crops, the vision encoder |
| detail | tokens | the crops, the detail encoder |
| views | latents | the crops, the VAE |
| control | latents | i2v: the clip's first frame, its cut, the VAE; VACE: size and VAE alone, so that clips share it |
| image_embeds | rows | the clip's first frame, the base's CLIP |
| picture | latents | the crops, the clip's size, the VAE |

The last three are what the base is given of pictures (`conditions.Condition`), where it takes some. What is of crops has a row a
view: first those that are spread over pose and expression, last the face of the clip's first frame. Spread, states and tokens lie
in bfloat16, which keeps three of their digits in half the bytes. Control, image_embeds and views are
given to the transformer as they are, so they lie in the dtype to which the stock pipelines cast them for it, and rows of text in
their encoder's. Mean and picture are mixed with noise in float32 before, and stay as the VAE gives them. How each view is turned
stands in the clip list, which is in memory: drawing views opens no shard.
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
from model.clip_size import Bucket
from model.clips.clip_list import SHARDS, ClipEntry, ClipMeta, Place, write_clip_list
from model.clips.latent_shards import Tensors, write_shard
from model.encoding.face_features import FaceViews
from model.presets import CLIP_IMAGE_ROWS, Preset

if TYPE_CHECKING:
    from model.encoding.encoders import ClipEncoders

CLIP_LIST = "clips.parquet"
CONDITION_TENSORS = {"control": "latents", "image_embeds": "rows"}
"""Parts of a condition that are the clip's own, which are its fields, and the name of the one tensor in each."""


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


def video_part(mean: torch.Tensor, spread: torch.Tensor | None) -> Tensors:
    """Mean and spread (C, T', h, w), both normalised."""
    return _present(mean=mean, spread=None if spread is None else spread.bfloat16())


def text_part(rows: torch.Tensor) -> Tensors:
    """Real rows (L, D) of an encoded text."""
    return {"rows": rows}


def face_part(identity: torch.Tensor, boxes: torch.Tensor | None) -> Tensors:
    """Identity (V, E), of unit length; boxes (T', 4)."""
    return _present(identity=identity, boxes=boxes)


def semantic_part(states: torch.Tensor) -> Tensors:
    """(V, S, D_s)."""
    return {"states": states.bfloat16()}


def detail_part(tokens: torch.Tensor) -> Tensors:
    """(V, P, D_d)."""
    return {"tokens": tokens.bfloat16()}


def views_part(latents: torch.Tensor, dtype: torch.dtype | None = None) -> Tensors:
    """(V, C, h, w), in the transformer's dtype where that is given."""
    return {"latents": latents.to(dtype)}


def picture_part(latents: torch.Tensor) -> Tensors:
    """(V, C, 1, h, w)."""
    return {"latents": latents}


def condition_part(part: str, field: torch.Tensor, dtype: torch.dtype | None = None) -> Tensors:
    """A field of a condition, batch size 1, in the transformer's dtype where that is given; the part is named after it."""
    return {CONDITION_TENSORS[part]: field[0].to(dtype)}


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


def clip_from_parts(
    meta: ClipMeta, angles_deg: torch.Tensor, parts: Iterable[str], read: Callable[[str, str], torch.Tensor | None]
) -> ClipLatents:
    """The clip whose parts `parts_of` gave.

    Args:
        angles_deg: (V, 3), how its views are turned.
        parts: names of those that there are.
        read: a part's name and a tensor's to that tensor, or None where the part has none of that name.
    """

    def there(part: str, name: str) -> torch.Tensor:
        tensor = read(part, name)
        assert tensor is not None, f"{part} has no {name}"
        return tensor

    known = set(parts)
    condition = {part: there(part, name)[None] for part, name in CONDITION_TENSORS.items() if part in known}
    return ClipLatents(
        meta=meta,
        latents=there("video", "mean"),
        spread=read("video", "spread"),
        text=there("text", "rows"),
        text_plain=there("text_plain", "rows") if "text_plain" in known else None,
        null_text=there("text_empty", "rows"),
        views=FaceViews(
            identity=there("face", "identity"),
            semantic=there("semantic", "states"),
            detail=there("detail", "tokens"),
            angles_deg=angles_deg,
            latents=there("views", "latents"),
            picture=there("picture", "latents") if "picture" in known else None,
        ),
        face_boxes=read("face", "boxes"),
        condition=Condition(**condition) if condition else None,
    )


def encode_clip(encoders: "ClipEncoders", frames: NDArray[np.uint8], views: FaceViews, meta: ClipMeta) -> ClipLatents:
    """All that training reads of one clip, in memory; for tests and benchmarks.

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
    path = folder / CLIP_LIST
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


def _present(**tensors: torch.Tensor | None) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def _digest(tensors: Tensors) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]


USUAL_TEXT_ROWS = 150
"""Text rows of a refined caption of some 100 words; a part of text lies without its padding."""


def part_bytes(chosen: Preset, bucket: Bucket, views: int) -> dict[str, int]:
    """Part to its bytes, for a clip of this size; of text what it usually takes. What clips share (VACE's control) is left out.

    Args:
        views: of the clip's face, that of the first frame among them.
    """
    spec, features = chosen.base, chosen.features
    number = 2 if chosen.train.precision == "bfloat16" else 4
    still = spec.latent_channels * (bucket.height // spec.spatial_factor) * (bucket.width // spec.spatial_factor)
    latents = still * (1 + (bucket.frames - 1) // spec.temporal_factor)
    view = spec.latent_channels * (chosen.clip.view_side // spec.spatial_factor) ** 2
    found = {
        "video": (4 + 2) * latents,
        "text": number * USUAL_TEXT_ROWS * spec.transformer.text_dim,
        "text_plain": number * USUAL_TEXT_ROWS * spec.transformer.text_dim,
        "face": 4 * (views * features.identity_width + 4 * bucket.frames),
        "semantic": 2 * views * features.semantic_tokens * features.semantic_width,
        "detail": 2 * views * features.detail_tokens * features.detail_width,
        "views": number * views * view,
    }
    if spec.layout == "i2v":
        found["control"] = number * latents
    if spec.transformer.image_dim is not None:
        found["image_embeds"] = number * CLIP_IMAGE_ROWS * spec.transformer.image_dim
    if spec.layout == "vace":
        found["picture"] = 4 * views * still
    return found
