"""Whether the mouth does what the caption says: speaks where somebody speaks on screen, rests elsewhere.

Belongs here: how far the drawn mouth moves, and whether that agrees with the speaking status. Not here: the openings (the face
engine), the borders between a still mouth and a speaking one (`lafid_assets.speech.speaking_status`, by mouth model).
"""

from typing import Final

import numpy as np

from model.evaluation.measures.record import Absent, CaseVideo
from model.face_engine.mouth.movement import opening_range

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
