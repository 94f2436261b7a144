"""What the drawn faces are from frame to frame: as one another, as all views of the person, turned how far, speaking or not.

Belongs here: measures of the faces that `similarity.measure_frames` found. Not here: similarity at the frame's own pose
(`model.evaluation.similarity`).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.evaluation.measures.record import Absent, CaseVideo
from model.face_engine.mouth.movement import opening_range


def temporal_consistency(video: CaseVideo) -> float:
    """Mean cosine of neighbouring drawn frames' faces in the bench's engine; 0 where one of the two shows none."""
    units = _embeddings(video)
    if len(units) < 2:
        raise Absent("it takes two drawn frames")
    return float((units[1:] * units[:-1]).sum(axis=1).mean())


def multi_view_similarity(video: CaseVideo) -> float:
    """Mv2ID's multi-view consistency as its name reads (the formula is not published): the best cosine of each drawn face to any
    view of the gallery, mean; 0 where a frame shows none."""
    views = np.array([view.embedding for view in video.person.gallery])
    return float((_embeddings(video) @ views.T).max(axis=1).mean())


def pose_range_deg(video: CaseVideo) -> float:
    """Yaw of the drawn faces, 95th minus 5th percentile."""
    return float(np.subtract(*np.percentile(_yaws(video), [95, 5])))


def yaw_reached_deg(video: CaseVideo) -> float:
    """|Yaw| of the drawn faces, 95th percentile."""
    return float(np.percentile(np.abs(_yaws(video)), 95))


def _embeddings(video: CaseVideo) -> NDArray[np.float64]:
    """(T, D) of unit length; zeros, which resemble nothing, where a frame shows no face."""
    if all(face is None for face in video.faces):
        raise Absent("no drawn frame shows a face")
    width = len(video.person.gallery[0].embedding)
    return np.array([np.zeros(width) if face is None else face.embedding for face in video.faces])


def _yaws(video: CaseVideo) -> NDArray[np.float64]:
    yaws = [face.yaw_deg for face in video.faces if face is not None and face.yaw_deg is not None]
    if not yaws:
        raise Absent("the engine told no pose")
    return np.array(yaws)


SPEAKS: Final = "on_screen"
RESTS: Final = ("off_screen", "silent")


def lip_activity(video: CaseVideo) -> float:
    """How far the mouth opens and closes within a second (90th minus 10th percentile), median over the seconds."""
    openings = np.array([np.nan if face is None or face.mouth_opening is None else face.mouth_opening for face in video.faces])
    if not np.isfinite(openings).any():
        raise Absent("no mouth was measured in any drawn frame")
    found = opening_range(np.arange(len(openings)) / video.fps, openings)
    if found is None:
        raise Absent("no second has six frames with a measured mouth")
    return found


def lip_agreement(video: CaseVideo) -> float:
    """1 where the lips move as a speaker's and somebody speaks on screen, or rest and nobody does; 0 where not."""
    status = video.speaking_status
    if status not in (SPEAKS, *RESTS):
        raise Absent(f"undecidable: the caption's speaking status is {status or 'unknown'}")
    activity = lip_activity(video)
    if video.lip_borders is None:
        raise Absent("the engine of the bench has no borders between a still mouth and a speaking one")
    still, moving = video.lip_borders
    if still < activity < moving:
        raise Absent(f"undecidable: lips move by {activity:.3f}, between {still:g} (still) and {moving:g} (speaking)")
    return float((activity >= moving) == (status == SPEAKS))
