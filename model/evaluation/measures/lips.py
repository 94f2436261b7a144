"""Whether the mouth does what the caption says: speaks where somebody speaks on screen, rests elsewhere.

Belongs here: how far the drawn mouth moves, and whether that agrees with the speaking status. Not here: the openings (the face
engine), the borders between a still mouth and a speaking one (`lafid_assets.speech.speaking_status`, by mouth model).
"""

from typing import Final

import numpy as np

from model.evaluation.measures.record import Absent, Measure, Sight
from model.face_engine.mouth.movement import opening_range

SPEAKS: Final = "on_screen"
RESTS: Final = ("off_screen", "silent")


def _activity(sight: Sight) -> float | Absent:
    faces = sight.video.faces
    openings = np.array([np.nan if face is None or face.mouth_opening is None else face.mouth_opening for face in faces])
    if not np.isfinite(openings).any():
        return Absent("no mouth was measured in any drawn frame")
    found = opening_range(np.arange(len(faces)) / sight.video.fps, openings)
    return Absent("no second has six frames with a measured mouth") if found is None else found


def _agreement(sight: Sight) -> float | Absent:
    status, borders = sight.video.speaking_status, sight.video.lip_borders
    if status not in (SPEAKS, *RESTS):
        return Absent(f"undecidable: the caption's speaking status is {status or 'unknown'}")
    activity = _activity(sight)
    if isinstance(activity, Absent):
        return activity
    if borders is None:
        return Absent("the engine of the bench has no borders between a still mouth and a speaking one")
    still, moving = borders
    if still < activity < moving:
        return Absent(f"undecidable: lips move by {activity:.3f}, between {still:g} (still) and {moving:g} (speaking)")
    return float((activity >= moving) == (status == SPEAKS))


LIP_ACTIVITY = Measure(
    "lip_activity",
    "share of the face's height",
    None,
    (),
    "How far the mouth opens and closes within a second (90th minus 10th percentile), median over the seconds.",
    _activity,
)
LIP_AGREEMENT = Measure(
    "lip_agreement",
    "share",
    True,
    (),
    "1 where lips move as a speaker's and the caption has somebody speak on screen, or rest and it has not; 0 where not.",
    _agreement,
)
