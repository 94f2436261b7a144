"""What the movement of a mouth says by itself: how much it moves.

Belongs here: numbers from a `MouthTrack` alone. Not here: making the track (`lips`), the measure itself, which drawn videos share
(`model.face_engine.mouth.movement`), whether it moves with the sound (`synchrony`), judging the numbers (`speaking_status`).
"""

from lafid_assets.speech.lips import MouthTrack
from model.face_engine.mouth.movement import opening_range


def mouth_range(track: MouthTrack) -> float | None:
    """How far the mouth opens and closes within a second (`opening_range`), no window reaching across two runs."""
    return opening_range(track.times_s, track.openings, track.run)
