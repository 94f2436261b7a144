"""What a clip's pictures are: a whole file, or a piece of one between two cuts.

Belongs here: naming that place. Not here: where files are found, decoding (`shown`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Piece:
    """A file from one frame to another, both included, on the rising clock of `shown.RisingClock`.

    Attributes:
        first_pts, last_pts: timestamps of the two frames.
        keyframe_pts: where decoding may begin to reach the first one; None: only at the file's beginning, because its clock
            begins anew on the way and no timestamp can be sought.
        start_s: the first frame, seconds since that of the file.
    """

    path: Path
    first_pts: int
    last_pts: int
    keyframe_pts: int | None
    start_s: float = 0.0


Footage = Path | Piece


def file_of(footage: Footage) -> Path:
    """The file in which it lies."""
    return footage.path if isinstance(footage, Piece) else footage


def passed_s(footage: Footage) -> float:
    """Seconds of the file that have to be decoded before the clip begins: what a deadline must allow for."""
    if isinstance(footage, Piece) and footage.keyframe_pts is None:
        return footage.start_s
    return 0.0


def footage_in(path: Path, clip: Mapping[str, Any]) -> Footage:
    """The clip in its file.

    Args:
        clip: `first_pts`, `last_pts`, `keyframe_pts` and `start_s` as the tables have them: NULL of a whole file.
    """
    if clip["first_pts"] is None:
        return path
    return Piece(path, clip["first_pts"], clip["last_pts"], clip["keyframe_pts"], clip["start_s"])
