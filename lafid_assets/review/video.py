"""A clip as a browser plays it: the file itself where browsers can, else the clip encoded anew, kept a while.

Belongs here: which files browsers play, and the folder of encoded clips. Not here: where a clip's file lies (`ingest.locate`),
encoding (`dataset.export.cut_out`), HTTP (`app`).
"""

import os
import threading
from pathlib import Path

import av

from lafid_assets.dataset.export.cut_out import cut_out
from lafid_assets.ingest.packets import open_clip, read_index
from lafid_assets.outcomes import ClipError
from lafid_assets.release.evaluation_tasks import plain_name
from model.encoding.footage import Footage, Piece, file_of
from model.encoding.shown import SQUARE_TOLERANCE, main_video, pixel_shape
from model.files import write_whole

FOLDER = "review"
"""A folder of the home."""
SIDE_PX = 960
MOST_BYTES = 2 << 30
"""Most bytes of encoded clips; those that were not asked for longest go first."""
MOST_LATE_S = 0.02
"""A file whose first frame comes later plays on another clock than that of the measures."""
_X264_OPTIONS = {"crf": "21", "preset": "veryfast", "threads": "2"}
_PLAYED = {"mov": ("video/mp4", {"h264", "av1", "vp9"}), "webm": ("video/webm", {"vp8", "vp9", "av1"})}
"""What Chromium, Firefox and Safari can all be expected to play."""


class CannotPlay(ValueError):
    """A clip cannot be shown; the message says why."""


def media_type(footage: Footage) -> str | None:
    """The media type under which browsers play the clip's own file, with the measures' times; None where it must be encoded
    anew: pieces of recordings, other codecs, more than 8 bits, pixels that are not square, a picture that begins late."""
    if isinstance(footage, Piece):
        return None
    path = file_of(footage)
    family = "webm" if path.suffix.lower() == ".webm" else "mov"
    try:
        with open_clip(path) as container:
            stream = main_video(container)
            kind, codecs = _PLAYED[family]
            late_s = float((stream.start_time or 0) * stream.time_base) if stream.time_base else 0.0
            plays = (
                family in container.format.name.split(",")
                and stream.codec_context is not None
                and stream.codec_context.codec.canonical_name in codecs
                and stream.codec_context.pix_fmt in ("yuv420p", "yuvj420p")
                and abs(pixel_shape(stream) - 1) <= SQUARE_TOLERANCE
                and abs(late_s) <= MOST_LATE_S
            )
    except (av.FFmpegError, IndexError):
        return None
    return kind if plays else None


class EncodedClips:
    """Clips encoded anew, in a folder that holds no more than so many bytes. One is encoded at a time; who asks for the same
    waits for it. `lafid forget` finds files here by the clips' names.

    Args:
        folder: where they lie.
        most_bytes: how many bytes may stay; the newest file stays in any case.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._folder, self._most_bytes, self._at_work = folder, most_bytes, threading.Lock()

    def file(self, clip_id: str, content_sha256: str, footage: Footage) -> Path:
        """The clip as an mp4 that every browser plays.

        Raises:
            CannotPlay: it cannot be decoded.
        """
        path = self._folder / f"{plain_name(clip_id)}.{content_sha256[:16]}.mp4"
        with self._at_work:
            if path.is_file():
                os.utime(path)  # asked for again
                return path
            try:
                encoded = cut_out(_as_piece(footage), SIDE_PX, _X264_OPTIONS)
            except (av.FFmpegError, ClipError, ValueError) as error:
                raise CannotPlay(f"the clip cannot be decoded: {error}") from error
            if not encoded:
                raise CannotPlay("the clip has no picture that could be decoded")
            write_whole(path, encoded)
            self._make_room(path)
        return path

    def _make_room(self, newest: Path) -> None:
        files = sorted((path for path in self._folder.glob("*.mp4") if path != newest), key=lambda path: path.stat().st_mtime_ns)
        held = newest.stat().st_size + sum(path.stat().st_size for path in files)
        for path in files:
            if held <= self._most_bytes:
                return
            held -= path.stat().st_size
            path.unlink(missing_ok=True)


def _as_piece(footage: Footage) -> Piece:
    """A whole file as the piece from its first frame to its last."""
    if isinstance(footage, Piece):
        return footage
    index = read_index(footage)
    return Piece(footage, index.pts[0], index.pts[-1], index.keyframe_pts[0] if index.runs == 1 else None)
