"""What is to be cached of a clip: every part with its key and the way to compute it.

Belongs here: what each part depends on, and from a row of the dataset to the encoders' calls. Not here: which parts are missing
and where they lie (`latents`), parts and encoders themselves (`model.clips.clip_parts`, `model.encoding.encoders`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lafid_assets.faces.sampling import frames_at
from lafid_assets.ingest.media_probe import content_sha256_in_state, resolve
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.training.face_views import FaceView
from lafid_assets.training.time_window import face_centre_xy_px
from model.encoding.footage import Footage, footage_in
from model.encoding.head_mask import MaskInfo
from model.presets import Bucket, ClipSize
from resources.face_engine import model_store

if TYPE_CHECKING:
    from model.clips.latent_shards import Tensors
    from model.encoding.encoders import ClipEncoders

KEY_DIGITS = 32
_VERSION = 3
"""Raise it when the same facts are to give other pixels or other tensors: how clips are cut, faces cropped, parts laid out."""

Row = Mapping[str, Any]
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Recipe:
    """One part: its key, over all that it depends on, and what computes it."""

    key: str
    compute: "Callable[[], Tensors]"


def recipes(
    clip: Row, size: ClipSize, bucket: Bucket, start_s: float, views: Sequence[FaceView], encoders: "ClipEncoders"
) -> dict[str, Recipe]:
    """All parts of a clip, by name. Nothing is decoded or encoded until a recipe is followed.

    Args:
        clip: a row of `lafid_dataset`.
        bucket: where the clip was placed.
        start_s: where its window begins (`time_window`).
        views: of its face, in order (`face_views`).
    """
    import torch

    from model.clips.clip_parts import detail_part, face_part, semantic_part, text_part, video_part, views_part
    from model.encoding.face_boxes import boxes_in_latents
    from model.encoding.video_io import cut_window
    from model.encoding.views import view_latents

    footage = _Pictures(clip, size, bucket, start_s, views)
    mask = footage.mask.model_dump()
    spots = [[view.frame_index, view.box_xyxy_px, view.landmarks_px, mask] for view in views]
    window = cut_window(clip["height"], clip["width"], bucket.height, bucket.width, footage.centre_xy_px)
    seen_px = [round(float(side), 3) for side in window]
    cut = [*bucket, size.fps, start_s, seen_px]
    track = clip["face_track"]
    places = np.array([_box(place) for place in track], np.float32).reshape(-1, 4)  # what was not seen becomes NaN
    factor = encoders.base.codec.config.scale_factor_temporal
    boxes = boxes_in_latents([place["time_s"] - start_s for place in track], places, window, bucket.frames, size.fps, factor)
    embeddings = [view.embedding for view in views]
    measured = [embeddings, clip["engine"], clip["engine_version"], boxes.tolist()]
    content = [clip["content_sha256"], clip["first_pts"], clip["last_pts"]] if clip["recording_id"] else clip["content_sha256"]

    def face() -> "Tensors":
        identity = torch.nn.functional.normalize(torch.tensor(embeddings, dtype=torch.float32), dim=1)
        return face_part(identity, torch.from_numpy(boxes))

    def text(words: str) -> Recipe:
        return Recipe(_key("text", words, encoders.text_fingerprint), lambda: text_part(encoders.text(words)))

    found = {
        "video": Recipe(
            _key("video", content, cut, encoders.video_fingerprint), lambda: video_part(*encoders.moments(footage.frames))
        ),
        "text": text(clip["refined_caption"] or ""),
        "text_empty": text(""),
        "face": Recipe(_key("face", measured), face),
        "semantic": Recipe(
            _key("semantic", content, spots, encoders.semantic_fingerprint),
            lambda: semantic_part(torch.cat([encoders.semantic(crop) for crop in footage.crops])),
        ),
        "detail": Recipe(
            _key("detail", content, spots, encoders.detail_fingerprint),
            lambda: detail_part(torch.cat([encoders.detail(crop) for crop in footage.crops])),
        ),
        "views": Recipe(
            _key("views", content, spots, size.view_side, encoders.video_fingerprint),
            lambda: views_part(view_latents(encoders, footage.crops, size.view_side)),
        ),
    }
    found |= _condition_recipes(footage, bucket, [content, start_s, seen_px], [content, spots], encoders)
    plain = without_speech(clip["refined_caption"], clip["speaking_sentence"])
    return found if plain is None else found | {"text_plain": text(plain)}


def _condition_recipes(
    footage: "_Pictures", bucket: Bucket, first_frame: list[Any], crops: list[Any], encoders: "ClipEncoders"
) -> dict[str, Recipe]:
    """Of what the base is given of pictures, where it takes some.

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
                _key("control", bucket, encoders.video_fingerprint),
                lambda: condition_part("control", conditions.empty_control(*bucket)),
            ),
            "picture": Recipe(
                _key("picture", crops, bucket[1:], encoders.video_fingerprint),
                lambda: picture_part(torch.cat([conditions.picture(crop, *bucket[1:]) for crop in footage.crops])),
            ),
        }
    if layout != "i2v":
        return {}
    control = Recipe(
        _key("control", first_frame, bucket, encoders.video_fingerprint),
        lambda: condition_part("control", conditions.first_frame_control(footage.frames[0], bucket.frames)),
    )
    if not conditions.has_image_branch:
        return {"control": control}
    image_embeds = Recipe(
        _key("image_embeds", first_frame, bucket[1:], encoders.image_fingerprint),
        lambda: condition_part("image_embeds", conditions.image_embeds(footage.frames[0])),
    )
    return {"control": control, "image_embeds": image_embeds}


def without_speech(caption: str | None, sentence: str | None) -> str | None:
    """The caption without its sentence on speech; None where it has none."""
    if not caption or not sentence or sentence not in caption:
        return None
    before, _, after = caption.partition(sentence)
    return " ".join(part for part in (before.strip(), after.strip()) if part)


class _Pictures:
    """The clip's file, read when a part needs it and once at most."""

    def __init__(self, clip: Row, size: ClipSize, bucket: Bucket, start_s: float, views: Sequence[FaceView]) -> None:
        self._clip, self._size, self._bucket, self._start_s, self._views = clip, size, bucket, start_s, views
        cut_by = clip["references"][0]
        self.mask = MaskInfo(name=cut_by["mask"], sha256=cut_by["mask_sha256"])

    @property
    def centre_xy_px(self) -> tuple[float, float]:
        """Of the face in the window, else of the first reference: what a cut keeps in view."""
        centre = face_centre_xy_px(self._clip["face_track"], self._start_s, self._size.window_s(self._bucket))
        x1, y1, x2, y2 = self._views[0].box_xyxy_px
        return centre or ((x1 + x2) / 2, (y1 + y2) / 2)

    @cached_property
    def frames(self) -> Picture:
        """(T, H, W, 3) at the bucket's size and rate."""
        from model.encoding.video_io import VideoError, fit_frames, frame_times, read_frames

        try:
            shown = read_frames(self._footage, frame_times(self._bucket.frames, self._size.fps, self._start_s))
        except VideoError as error:
            raise ClipError(Reason.DECODE_FAILED, str(error)) from error
        return fit_frames(shown, self._bucket.height, self._bucket.width, self.centre_xy_px)

    @cached_property
    def crops(self) -> list[Picture]:
        """Head and shoulders of every view, cut as a user's photo is, by the mask that `reference_crops` used.

        Raises:
            MaskUnusable: its network is not in the model store any more.
        """
        from model.encoding.face_processor import head_and_shoulders
        from model.encoding.head_mask import mask_of

        mask = mask_of(self.mask, model_store())
        frames = frames_at(self._footage, {view.frame_index for view in self._views})
        return [
            head_and_shoulders(
                frames[view.frame_index], view.box_xyxy_px, mask, np.array(view.landmarks_px, np.float32).reshape(-1, 2)
            )
            for view in self._views
        ]

    @cached_property
    def _footage(self) -> Footage:
        clip = self._clip
        path = resolve(Path(clip["clip_root"]), clip["path"])
        if path is None:
            raise ClipError(Reason.UNREADABLE, f"{clip['path']} has disappeared: put it back, or materialize raw_clips again")
        try:
            found = content_sha256_in_state(path)
        except OSError as error:
            raise ClipError(Reason.UNREADABLE, f"{clip['path']} cannot be read: {error.strerror}") from error
        if found != clip["content_sha256"]:
            version = clip["dataset_version"]
            raise ClipError(
                Reason.UNREADABLE,
                f"{clip['path']} has changed since dataset version {version}: put the file back, or materialize raw_clips again",
            )
        return footage_in(path, clip)


def _box(row: Row) -> tuple[float, float, float, float]:
    return row["box_x1"], row["box_y1"], row["box_x2"], row["box_y2"]


def _key(*facts: Any) -> str:
    return hashlib.sha256(json.dumps([_VERSION, *facts]).encode()).hexdigest()[:KEY_DIGITS]
