"""The views that training caches: spread over poses, and the face of the window's first frame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from lafid_assets.dataset.references import choose_references
from lafid_assets.outcomes import ClipError
from lafid_assets.schemas import FACES, LAFID_DATASET
from lafid_assets.schemas.products import REFERENCE
from lafid_assets.training.base import base_folder
from lafid_assets.training.face_views import MeasuredFaces, asked_faces, views_of
from lafid_assets.training.latents import without_first_face
from model.clip_size import ClipSize
from model.clips.clip_set import ClipSet
from model.face_engine.rotations import rotation_from_angles
from model.face_engine.view_spread import pose_gaps_deg
from model.presets import PRESETS, preset
from resources.store.file_store import FileStore
from tests.lafid_assets.training.encoded import encode_clips, list_of
from tests.model.cached_clips import read_clip

RowOf = Callable[..., dict[str, Any]]
SIZE = ClipSize(frames=9, height=16, width=16)
LAST = {"time_s": 1.1, "frame_index": 11, "face_index": 0, "box_x1": 20.0, "box_y1": 10.0, "box_x2": 44.0, "box_y2": 34.0}
LAST |= {"yaw_deg": 60.0, "pitch_deg": 0.0, "roll_deg": 0.0}


def _sweep(row_of: RowOf, clip: dict[str, Any]) -> pl.DataFrame:
    """The faces of a clip of 12 frames in which a head turns from -60 to 60 degrees, frontal ones sharpest."""
    rows = []
    for frame, yaw in enumerate(np.linspace(-60, 60, 12)):
        known = {name: clip[name] for name in ("clip_id", "shard")} | {"frame_index": frame, "face_index": 0, "pts": frame}
        angles = {"yaw_deg": yaw, "pitch_deg": 0.0, "roll_deg": 0.0, "rotation": rotation_from_angles(yaw, 0, 0).ravel().tolist()}
        place = {name: LAST[name] for name in LAST if name.startswith("box")} | {"time_base_num": 1, "time_base_den": 10}
        measured = {"sharpness": 90 - abs(yaw), "landmarks_px": [], "embedding": np.eye(128, dtype=np.float32)[frame].tolist()}
        rows.append(row_of(FACES, **known, **angles, **place, **measured))
    return FACES.frame(rows)


@pytest.mark.parametrize("most", sorted({3, 5} | {one.clip.views for one in PRESETS.values()}))
def test_the_first_views_of_a_sweep_are_spread_however_many_are_cached(most: int, dataset: pl.DataFrame, row_of: RowOf) -> None:
    """Both profiles are among them, and no two lie near each other."""
    (clip, *_) = dataset.to_dicts()
    faces, size = _sweep(row_of, clip), SIZE.model_copy(update={"views": most})
    chosen = choose_references(faces).with_columns(mask=pl.lit("oval"), mask_sha256=None, face_path=None, head_path=None)
    references = chosen.select(field.name for field in REFERENCE.fields).to_dicts()
    found = views_of(clip | {"references": references}, size, 0.0, MeasuredFaces(faces).of(clip["clip_id"]))
    angles = np.array([view.angles_deg for view in found.views[:-1]])
    assert len(angles) == most
    assert angles[:, 0].min() < -50
    assert angles[:, 0].max() > 50
    gaps = pose_gaps_deg(rotation_from_angles(*angles.T))
    assert gaps[~np.eye(len(gaps), dtype=bool)].min() > 20
    assert [view.embedding.index(1.0) for view in found.views[:-1]] == [view.frame_index for view in found.views[:-1]]


def test_what_is_cached_is_spread_and_ends_with_the_first_frame(
    store: FileStore, dataset: pl.DataFrame, faces: pl.DataFrame
) -> None:
    """Of the second clip the first frame's face was not measured: the view nearest in time stands for it, and is counted."""
    first, second, *_ = dataset.to_dicts()
    begins = [LAST | {"time_s": 0.1, "frame_index": 1, "face_index": 1, "yaw_deg": -20.0}, LAST]
    rows = LAFID_DATASET.frame([first | {"face_track": begins}, second | {"split": "train"}])
    asked = asked_faces(rows, SIZE)
    assert sorted(asked.filter(clip_id="a").rows()) == [("a", 1, 1), ("a", 2, 0), ("a", 6, 0)]
    latents = encode_clips(rows, faces, preset("tiny").model_copy(update={"clip": SIZE}), base_folder("tiny", store), store)
    assert latents["first_frame_measured"].to_list() == [True, False]
    assert without_first_face(latents) == 1
    clips = ClipSet(list_of(latents, rows, store))
    views, others = (read_clip(clips, index).views for index in (0, 1))
    assert views.angles_deg.tolist() == [[0, 0, 0], [30, -5, 2], [-20, 0, 0]]
    assert others.angles_deg.tolist() == [[0, 0, 0], [30, -5, 2], [0, 0, 0]]
    for one in (views.identity, views.semantic, views.detail, views.latents):
        assert len(one) == 3
        assert not (one[2] == one[0]).all()
    assert (others.latents[2] == others.latents[0]).all()
    assert (clips.poses.first_frame(0), clips.poses.first_frame(1)) == (2, 0)
    assert views.identity[2].argsort()[-2:].tolist() == [1, ord("a")], "the embedding of the face in frame 1"


@pytest.mark.parametrize("changed", [{"engine_version": "other"}, {"frame_index": 3}], ids=["engine", "gone"])
def test_faces_measured_anew_since_the_dataset_are_named(
    dataset: pl.DataFrame, faces: pl.DataFrame, changed: dict[str, Any], tmp_path: Path
) -> None:
    """An embedding of another engine would lie in another space."""
    clip = dataset.to_dicts()[0]
    anew = faces.with_columns(
        pl.when(pl.col("frame_index") == 6).then(pl.lit(value)).otherwise(name).cast(faces.schema[name]).alias(name)
        for name, value in changed.items()
    )
    with pytest.raises(ClipError, match="its face in frame 6 has been measured anew since dataset version x: materialize lafid_"):
        views_of(clip, SIZE, 0.0, MeasuredFaces(anew).of("a"))
