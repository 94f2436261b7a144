"""Which photos of a person help: a further photo helps by another pose or another expression.

Belongs here: that comparison, in words. Not here: finding faces (`face_engine`), what the model makes of photos (`pipeline`).
"""

from collections.abc import Sequence

from model.face_engine.interface import Face
from model.face_engine.rotations import geodesic_deg
from model.likeness import CHANGED_EXPRESSION, expression_change

ANOTHER_VIEW_DEG = 20.0
"""Geodesic angle from which on two poses are different views, as the pairs that train the pose-shared aligner."""


def what_photos_add(faces: Sequence[Face | None]) -> list[str]:
    """A line a photo, in their order. `faces`: the person's, one a photo; None where none was found."""
    return [f"photo {number + 1} {_what_it_adds(faces, number)}" for number in range(len(faces))]


def _what_it_adds(faces: Sequence[Face | None], number: int) -> str:
    face = faces[number]
    if face is None:
        return "adds nothing: no face found"
    earlier = [(other, known) for other, known in enumerate(faces[:number]) if known is not None]
    if not earlier:
        return f"is what the video is conditioned on: {_pose(face)}"
    if face.rotation is None:
        return "adds a face whose pose is unknown"
    gaps = [(_gap_deg(face, known), other, known) for other, known in earlier if known.rotation is not None]
    alike = [(gap, other, known) for gap, other, known in gaps if gap < ANOTHER_VIEW_DEG]
    if not alike:
        return f"adds a view: {_pose(face)}" + (f", {min(gaps)[0]:.0f} degrees from the nearest" if gaps else "")
    changes = [(expression_change(face, known), other) for _, other, known in alike]
    measured = [(change, other) for change, other in changes if change is not None]
    if len(measured) == len(changes) and min(measured)[0] >= CHANGED_EXPRESSION:
        return f"adds an expression: {_pose(face)}, as photo {min(measured)[1] + 1}, but the face moves"
    gap, other = min((gap, other) for gap, other, _ in alike)
    as_it = "as frontal as" if abs(face.angles.yaw_deg if face.angles else 90) < ANOTHER_VIEW_DEG else "turned as"
    return f"adds nothing: {as_it} photo {other + 1} ({gap:.0f} degrees apart), with the same expression"


def _gap_deg(face: Face, known: Face) -> float:
    assert face.rotation is not None
    assert known.rotation is not None
    return float(geodesic_deg(face.rotation, known.rotation))


def _pose(face: Face) -> str:
    return (
        "pose unknown" if face.angles is None else f"yaw {face.angles.yaw_deg:+.0f}, pitch {face.angles.pitch_deg:+.0f} degrees"
    )
