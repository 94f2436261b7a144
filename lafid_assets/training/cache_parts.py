"""What is to be cached of a clip: every part with its key and the way to compute it.

Belongs here: what each part depends on, and from a row of the dataset to the encoders' calls. Not here: which parts are missing
and which share a file (`shard_plan`), the clip's pictures (`clip_pictures`), parts and encoders themselves
(`model.clips.clip_parts`, `model.encoding.encoders`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lafid_assets.training.clip_pictures import Need, Pictures
from lafid_assets.training.face_views import FaceView
from model.clip_size import Bucket, ClipSize

if TYPE_CHECKING:
    import torch

    from model.clips.latent_shards import Tensors
    from model.encoding.encoders import ClipEncoders

KEY_DIGITS = 32
_VERSION = 4
"""Raise it when the same facts are to give other pixels or other tensors: how clips are cut, faces cropped, parts laid out."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Recipe:
    """One part: its key, over all that it depends on, and what computes it.

    Attributes:
        needs: what of the clip's pictures; None: none of them.
    """

    key: str
    compute: "Callable[[Pictures], Tensors]"
    needs: Need | None = None


@dataclass(frozen=True)
class TextRecipe:
    """One part that is of words alone: texts are encoded many at a time."""

    key: str
    words: str


def recipes(
    clip: Row,
    size: ClipSize,
    bucket: Bucket,
    start_s: float,
    centre_xy_px: tuple[float, float],
    views: Sequence[FaceView],
    encoders: "ClipEncoders",
    dtype: "torch.dtype",
) -> dict[str, Recipe]:
    """All parts of a clip that are not of words, by name. Nothing is decoded or encoded until a recipe is followed.

    Args:
        clip: a row of `lafid_dataset`.
        bucket: where the clip was placed.
        start_s: where its window begins (`time_window`).
        centre_xy_px: what a cut keeps in view.
        views: of its face, in order (`face_views`).
        dtype: in which the transformer computes.
    """
    import torch

    from model.clips.clip_parts import detail_part, face_part, semantic_part, video_part, views_part
    from model.encoding.face_boxes import boxes_in_latents
    from model.encoding.video_io import cut_window
    from model.encoding.views import view_latents

    mask = mask_facts(clip)
    spots = _key([[view.frame_index, view.box_xyxy_px, view.landmarks_px, mask] for view in views])  # several keys are of it
    window = cut_window(clip["height"], clip["width"], bucket.height, bucket.width, centre_xy_px)
    seen_px = [round(float(side), 3) for side in window]
    cut = [*bucket, size.fps, start_s, seen_px]
    track = clip["face_track"]
    places = np.array([_box(place) for place in track], np.float32).reshape(-1, 4)  # what was not seen becomes NaN
    factor = encoders.base.codec.config.scale_factor_temporal
    boxes = boxes_in_latents([place["time_s"] - start_s for place in track], places, window, bucket.frames, size.fps, factor)
    embeddings = [view.embedding for view in views]
    told = hashlib.sha256(np.array(embeddings, np.float32).tobytes()).hexdigest()  # numbers as text take most of a plan's time
    measured = [told, clip["engine"], clip["engine_version"], boxes.tolist()]
    content = [clip["content_sha256"], clip["first_pts"], clip["last_pts"]] if clip["recording_id"] else clip["content_sha256"]

    def face(_: Pictures) -> "Tensors":
        identity = torch.nn.functional.normalize(torch.tensor(embeddings, dtype=torch.float32), dim=1)
        return face_part(identity, torch.from_numpy(boxes))

    found = {
        "video": Recipe(
            _key("video", content, cut, encoders.video_fingerprint),
            lambda shown: video_part(*encoders.moments(_frames(shown))),
            "frames",
        ),
        "face": Recipe(_key("face", measured), face),
        "semantic": Recipe(
            _key("semantic", content, spots, encoders.semantic_fingerprint),
            lambda shown: semantic_part(torch.cat([encoders.semantic(crop) for crop in shown.crops])),
            "crops",
        ),
        "detail": Recipe(
            _key("detail", content, spots, encoders.detail_fingerprint),
            lambda shown: detail_part(torch.cat([encoders.detail(crop) for crop in shown.crops])),
            "crops",
        ),
        "views": Recipe(
            _key("views", content, spots, size.view_side, encoders.video_fingerprint, str(dtype)),
            lambda shown: views_part(view_latents(encoders, shown.crops, size.view_side), dtype),
            "crops",
        ),
    }
    return found | _condition_recipes(bucket, [content, start_s, seen_px], [content, spots], encoders, dtype)


def text_recipes(clip: Row, encoders: "ClipEncoders") -> dict[str, TextRecipe]:
    """The parts of a clip that are of words, by name: its caption, no words, and the caption without its sentence on speech."""
    told = {"text": clip["refined_caption"] or "", "text_empty": ""}
    plain = without_speech(clip["refined_caption"], clip["speaking_sentence"])
    told |= {} if plain is None else {"text_plain": plain}
    return {part: TextRecipe(_key("text", words, encoders.text_fingerprint), words) for part, words in told.items()}


def mask_facts(clip: Row) -> dict[str, Any]:
    """What cut the heads of a row of `lafid_dataset` out, as `MaskInfo` has it."""
    return {"name": clip["references"][0]["mask"], "sha256": clip["references"][0]["mask_sha256"]}


def _condition_recipes(
    bucket: Bucket, first_frame: list[Any], crops: list[Any], encoders: "ClipEncoders", dtype: "torch.dtype"
) -> dict[str, Recipe]:
    """Recipes of the pictures that the base is given, where it takes some.

    Args:
        first_frame: what tells it from others of its size.
        crops: the same of the views' crops.
    """
    import torch

    from model.clips.clip_parts import condition_part, picture_part

    conditions, layout = encoders.conditions, encoders.base.info.layout
    if layout == "vace":
        return {
            # It says nothing of the clip: all clips of a size share it.
            "control": Recipe(
                _key("control", bucket, encoders.video_fingerprint, str(dtype)),
                lambda _: condition_part("control", conditions.empty_control(*bucket), dtype),
            ),
            "picture": Recipe(
                _key("picture", crops, bucket[1:], encoders.video_fingerprint),
                lambda shown: picture_part(torch.cat([conditions.picture(crop, *bucket[1:]) for crop in shown.crops])),
                "crops",
            ),
        }
    if layout != "i2v":
        return {}
    control = Recipe(
        _key("control", first_frame, bucket, encoders.video_fingerprint, str(dtype)),
        lambda shown: condition_part("control", conditions.first_frame_control(_frames(shown)[0], bucket.frames), dtype),
        "frames",
    )
    if not conditions.has_image_branch:
        return {"control": control}
    image_embeds = Recipe(
        _key("image_embeds", first_frame, bucket[1:], encoders.image_fingerprint, str(dtype)),
        lambda shown: condition_part("image_embeds", conditions.image_embeds(_frames(shown)[0]), dtype),
        "frames",
    )
    return {"control": control, "image_embeds": image_embeds}


def without_speech(caption: str | None, sentence: str | None) -> str | None:
    """The caption without its sentence on speech; None where it has none."""
    if not caption or not sentence or sentence not in caption:
        return None
    before, _, after = caption.partition(sentence)
    return " ".join(part for part in (before.strip(), after.strip()) if part)


def _frames(shown: Pictures) -> Any:
    """(T, H, W, 3)."""
    assert shown.frames is not None, "a part of frames was computed without them"
    return shown.frames


def _box(row: Row) -> tuple[float, float, float, float]:
    return row["box_x1"], row["box_y1"], row["box_x2"], row["box_y2"]


def _key(*facts: Any) -> str:
    return hashlib.sha256(json.dumps([_VERSION, *facts]).encode()).hexdigest()[:KEY_DIGITS]
