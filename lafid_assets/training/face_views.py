"""Which faces of a clip are encoded as its views: references that lie well apart, and last that of the window's first frame.

Belongs here: a row of the dataset and what curation measured of its faces -> the views in order. Not here: which faces are
references (`dataset.references`), where the window begins (`time_window`), cutting and encoding (`cache_parts`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from lafid_assets.constraints.window import WINDOW_COLUMNS
from lafid_assets.dataset.face_tracks import ANGLES, BOX
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.training.time_window import first_place, training_start_s
from model.clip_size import ClipSize

FACE_KEY = ("clip_id", "frame_index", "face_index")
FACE_COLUMNS = (*FACE_KEY, *BOX, *ANGLES, "landmarks_px", "embedding", "engine", "engine_version")
"""What is read of `face_info` and `face_embeddings`."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class FaceView:
    """One face in one frame, as curation measured it."""

    frame_index: int
    box_xyxy_px: tuple[float, float, float, float]
    landmarks_px: tuple[float, ...]
    angles_deg: tuple[float, float, float]
    embedding: tuple[float, ...]


@dataclass(frozen=True)
class ClipViews:
    """The views of one clip, at least two.

    Attributes:
        views: the first references of the clip, spread over pose and expression; last the face of the window's first frame.
        first_frame_measured: whether that frame's face was measured, pose and embedding; where not, the last of `views` is the
            reference nearest in time, once more.
    """

    views: tuple[FaceView, ...]
    first_frame_measured: bool


class MeasuredFaces:
    """Faces by clip. `faces`: `FACE_COLUMNS`, without duplicates; one that is missing was not measured."""

    def __init__(self, faces: pl.DataFrame) -> None:
        self._faces = faces.select(FACE_COLUMNS).sort(FACE_KEY)
        lengths = self._faces["clip_id"].rle().struct.unnest()
        starts = lengths["len"].cum_sum() - lengths["len"]
        self._places = dict(zip(lengths["value"], zip(starts, lengths["len"], strict=True), strict=True))

    def of(self, clip_id: str) -> dict[tuple[int, int], Row]:
        """(frame, face) to what was measured of it, for one clip."""
        rows = self._faces.slice(*self._places.get(clip_id, (0, 0))).iter_rows(named=True)
        return {(row["frame_index"], row["face_index"]): row for row in rows}


def asked_faces(dataset: pl.DataFrame, size: ClipSize) -> pl.DataFrame:
    """`FACE_KEY` of every face that may become a view. `dataset`: rows of `lafid_dataset`."""
    asked = []
    for clip in dataset.select("clip_id", "references", "face_track", "duration_s", "height", "width", *WINDOW_COLUMNS).iter_rows(
        named=True
    ):
        first = first_place(clip["face_track"], training_start_s(clip, size))
        places = [*clip["references"][: size.views], *([first] if first else [])]
        asked += [(clip["clip_id"], place["frame_index"], place["face_index"]) for place in places]
    schema = dict(zip(FACE_KEY, (pl.String, pl.Int32, pl.Int16), strict=True))
    return pl.DataFrame(asked, schema, orient="row").drop_nulls().unique()


def views_of(clip: Row, size: ClipSize, start_s: float, faces: Mapping[tuple[int, int], Row]) -> ClipViews:
    """The views of one clip.

    Args:
        clip: a row of `lafid_dataset`.
        start_s: where its window begins.
        faces: what was measured of it, as `MeasuredFaces.of` gives it.

    Raises:
        ClipError: a reference is not among them, or another engine measured it.
    """
    known = {key: face for key, face in faces.items() if _measured_by(clip) == _measured_by(face)}
    references = clip["references"][: size.views]
    lost = [one for one in references if (one["frame_index"], one["face_index"]) not in known]
    if lost:
        raise ClipError(
            Reason.UNREADABLE,
            f"its face in frame {lost[0]['frame_index']} has been measured anew since dataset version {clip['dataset_version']}: "
            "materialize lafid_dataset again",
        )
    spread = [_view(one, known[one["frame_index"], one["face_index"]]) for one in references]
    place = first_place(clip["face_track"], start_s)
    first = known.get((place["frame_index"], place["face_index"])) if place else None
    if first is not None and None not in [first[name] for name in ANGLES]:
        return ClipViews((*spread, _view(first, first)), first_frame_measured=True)
    begins_at = place["frame_index"] if place else 0
    nearest = min(spread, key=lambda view: abs(view.frame_index - begins_at))
    return ClipViews((*spread, nearest), first_frame_measured=False)


def _view(place: Row, measured: Row) -> FaceView:
    """Where a face is, how it is turned, and who it is said to be."""
    x1, y1, x2, y2 = (place[name] for name in BOX)
    yaw, pitch, roll = (place[name] for name in ANGLES)
    return FaceView(
        place["frame_index"], (x1, y1, x2, y2), tuple(place["landmarks_px"]), (yaw, pitch, roll), tuple(measured["embedding"])
    )


def _measured_by(row: Row) -> tuple[str, str]:
    return row["engine"], row["engine_version"]
