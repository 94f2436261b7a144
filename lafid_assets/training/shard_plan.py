"""What a shard of clips needs cached, and which parts lie in one file: known from the tables alone, before anything is decoded.

Belongs here: rows of the dataset -> parts by key, and files. Not here: what a part depends on (`cache_parts`), encoding
(`encoding`), rows of `training_latents` (`latents`).

Who encodes, in how many processes, and how often they were killed, is nothing that a plan knows of: so equal clips make equal
files.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from lafid_assets.outcomes import ClipError, Reason, Status
from lafid_assets.training.cache_parts import Recipe, Row, TextRecipe, mask_facts, recipes, text_recipes
from lafid_assets.training.clip_pictures import FILE_COLUMNS, PictureTask
from lafid_assets.training.face_views import ClipViews, MeasuredFaces, views_of
from lafid_assets.training.time_window import cut_centre_xy_px, training_start_s
from lafid_assets.workers.exit_reasons import Fault
from model.clip_size import Bucket, ClipSize
from model.clips.clip_bytes import part_bytes
from model.encoding.head_mask import MaskInfo
from model.presets import Preset

if TYPE_CHECKING:
    from model.encoding.encoders import ClipEncoders

FILE_BYTES = 256 << 20
"""About so many bytes of consecutive clips make a file: a kill costs less than that of a process's work."""


@dataclass(frozen=True)
class PlannedClip:
    """One clip: its size, its views, and its parts, or why it has none.

    Attributes:
        row: of `lafid_dataset`.
        pictured: part to the recipe of those that are not of words.
        texts: part to the recipe of those that are.
    """

    row: Row
    bucket: Bucket | None = None
    start_s: float | None = None
    centre_xy_px: tuple[float, float] | None = None
    views: ClipViews | None = None
    pictured: Mapping[str, Recipe] = field(default_factory=dict)
    texts: Mapping[str, TextRecipe] = field(default_factory=dict)
    fault: Fault | None = None

    @property
    def keys(self) -> dict[str, str]:
        """Part to its key."""
        pictured = {part: recipe.key for part, recipe in self.pictured.items()}
        return pictured | {part: recipe.key for part, recipe in self.texts.items()}


@dataclass(frozen=True)
class PlannedFile:
    """Clips whose parts lie in one file, but for those that lie in an earlier clip's.

    Attributes:
        owned: keys of its parts.
        expected_bytes: about, when nothing of it is there.
    """

    shard: str
    clips: tuple[PlannedClip, ...]
    owned: frozenset[str]
    expected_bytes: int

    def missing(self, places: Collection[str]) -> frozenset[str]:
        """Keys of its parts that are not there. `places`: keys of the parts that are."""
        return frozenset(key for key in self.owned if key not in places)


@dataclass(frozen=True)
class ShardPlan:
    """All clips of a shard, in the order of their ids."""

    shard: str
    clips: tuple[PlannedClip, ...]
    chosen: Preset

    @cached_property
    def files(self) -> tuple[PlannedFile, ...]:
        """The files in order. A part that several clips share is the first one's: it is encoded and stored once a shard."""
        groups: list[list[PlannedClip]] = []
        room = 0
        for clip in self.clips:
            if clip.bucket is None:
                continue
            size = self._expected_bytes(clip)
            if not groups or size > room:
                groups.append([])
                room = FILE_BYTES
            groups[-1].append(clip)
            room -= size
        files, owned = [], set[str]()
        for group in groups:
            own = {key for clip in group for key in clip.keys.values()} - owned
            owned |= own
            files.append(PlannedFile(self.shard, tuple(group), frozenset(own), sum(map(self._expected_bytes, group))))
        return tuple(files)

    def _expected_bytes(self, clip: PlannedClip) -> int:
        assert clip.bucket is not None
        assert clip.views is not None
        return sum(part_bytes(self.chosen, clip.bucket, len(clip.views.views)).values())


def plan_shard(shard: str, clips: pl.DataFrame, faces: pl.DataFrame, chosen: Preset, encoders: "ClipEncoders") -> ShardPlan:
    """What the clips need.

    Args:
        clips: the shard's rows of `lafid_dataset`.
        faces: what was measured of those that `face_views.asked_faces` asks for.
    """
    measured = MeasuredFaces(faces)
    planned = (_plan(clip, measured, chosen, encoders) for clip in clips.sort("clip_id").iter_rows(named=True))
    return ShardPlan(shard, tuple(planned), chosen)


def picture_task(clip: PlannedClip, wanted: Collection[str], size: ClipSize) -> PictureTask | None:
    """What a child must look up for the parts whose keys are wanted; None where they need no pictures.

    Args:
        clip: one that is placed in a bucket.
    """
    needs = frozenset(recipe.needs for recipe in clip.pictured.values() if recipe.needs and recipe.key in wanted)
    if not needs:
        return None
    assert clip.bucket is not None
    assert clip.start_s is not None
    assert clip.centre_xy_px is not None
    assert clip.views is not None
    file = {name: clip.row[name] for name in FILE_COLUMNS}
    mask = MaskInfo(**mask_facts(clip.row))
    return PictureTask(file, clip.bucket, size.fps, clip.start_s, clip.centre_xy_px, clip.views.views, mask, needs)


def _plan(row: dict[str, Any], measured: MeasuredFaces, chosen: Preset, encoders: "ClipEncoders") -> PlannedClip:
    import torch

    size = chosen.clip
    bucket = size.bucket_for(row["duration_s"], row["height"], row["width"])
    if bucket is None:
        shortest_s = size.window_s(size.buckets[0])
        detail = f"{row['duration_s']:.2f} s are not longer than the shortest window, {shortest_s:.2f} s"
        return PlannedClip(row, fault=Fault(Status.SKIPPED, Reason.TOO_SHORT, detail))
    start_s = training_start_s(row, size)
    try:
        views = views_of(row, size, start_s, measured.of(row["clip_id"]))
    except ClipError as error:
        return PlannedClip(row, fault=Fault(Status.ERROR, error.reason, error.detail))
    centre = cut_centre_xy_px(row, start_s, size.window_s(bucket))
    dtype = torch.bfloat16 if chosen.train.precision == "bfloat16" else torch.float32
    pictured = recipes(row, size, bucket, start_s, centre, views.views, encoders, dtype)
    return PlannedClip(row, bucket, start_s, centre, views, pictured, text_recipes(row, encoders))
