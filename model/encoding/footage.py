"""What a clip's pictures are: a whole file, or a piece of one between two cuts; and where that file lies.

Belongs here: naming that place. Not here: where files are found and how one comes to this machine, decoding (`shown`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class RemoteFile:
    """A file that is brought to this machine before it is opened.

    Attributes:
        address: `s3://bucket/key`.
        path: where it lies while somebody holds it.
        size_bytes: None where only the object store knows.
        etag: the state in which it is wanted; None: any.
        content_sha256: what it has to hold; None: not known yet.
    """

    address: str
    path: Path
    size_bytes: int | None = None
    etag: str | None = None
    content_sha256: str | None = None

    def __str__(self) -> str:
        """What a person is told."""
        return self.address


File = Path | RemoteFile


@dataclass(frozen=True)
class Piece:
    """A file from one frame to another, both included, on the rising clock of `shown.RisingClock`.

    Attributes:
        first_pts, last_pts: timestamps of the two frames.
        keyframe_pts: where decoding may begin to reach the first one; None: only at the file's beginning, because its clock
            begins anew on the way and no timestamp can be sought.
        start_s: the first frame, seconds since that of the file.
    """

    file: File
    first_pts: int
    last_pts: int
    keyframe_pts: int | None
    start_s: float = 0.0


Footage = File | Piece


def source_of(footage: Footage) -> File:
    """The file in which it lies, wherever that is."""
    return footage.file if isinstance(footage, Piece) else footage


def file_of(footage: Footage) -> Path:
    """The same on this machine: of a file that lies elsewhere only while somebody holds it."""
    source = source_of(footage)
    return source.path if isinstance(source, RemoteFile) else source


def passed_s(footage: Footage) -> float:
    """Seconds of the file that have to be decoded before the clip begins: what a deadline must allow for."""
    if isinstance(footage, Piece) and footage.keyframe_pts is None:
        return footage.start_s
    return 0.0


def footage_in(file: File, clip: Mapping[str, Any]) -> Footage:
    """The clip in its file.

    Args:
        clip: `first_pts`, `last_pts`, `keyframe_pts` and `start_s` as the tables have them: NULL of a whole file.
    """
    if clip["first_pts"] is None:
        return file
    return Piece(file, clip["first_pts"], clip["last_pts"], clip["keyframe_pts"], clip["start_s"])
