"""What a file says about itself: existence, hash, container header.

Belongs here: one clip's file -> its facts or a `ClipError`. Not here: timestamps of packets (`packets`), decoding frames
(`faces.sampling`).
"""

import hashlib
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath

import av
from av.stream import Disposition
from av.video.reformatter import ColorPrimaries, ColorTrc

from lafid_assets.ingest.folder_walk import linked_folders
from lafid_assets.ingest.packets import open_clip, read_index
from lafid_assets.outcomes import ClipError, Reason
from model.encoding.footage import Footage, file_of
from model.encoding.seeking import breaks_off
from model.encoding.shown import main_video, pixel_shape


@dataclass(frozen=True)
class MediaFacts:
    """Facts from the container's header; None where it does not say.

    Attributes:
        width, height: px as stored, before turning and stretching.
        pixel_shape: width / height of a pixel.
        transfer, primaries: FFmpeg's names, in small letters.
    """

    fps: float | None
    frame_count: int | None
    width: int
    height: int
    pixel_shape: float
    transfer: str | None
    primaries: str | None
    duration_s: float | None
    video_codec: str
    has_audio: bool


def resolve(root: Path, path: str) -> Path | None:
    """The real file of a row, or None when there is none. Opens nothing: a pipe cannot block it.

    The file lies below `root`, or below a linked folder on its way that the listing follows, too.

    Raises:
        ClipError: the path leads out of there (absolute, `..`, a linked file), is no name that a disk could hold, or is no
            regular file: anyone may have written it.
    """
    if "\0" in path:
        raise ClipError(Reason.NOT_A_FILE, f"the path {path!r} holds a NUL byte: no file can have that name")
    as_windows = PureWindowsPath(path)  # which takes / and \\ alike: the table may come from there
    if Path(path).is_absolute() or as_windows.is_absolute() or ".." in as_windows.parts:
        raise ClipError(Reason.OUTSIDE_ROOT, f"the path {path} leads out of the clip root")
    found = root / path
    if not os.path.exists(found):
        return None
    real = found.resolve()
    if not any(real.is_relative_to(home) for home in (root.resolve(), *linked_folders(root, path))):
        raise ClipError(Reason.OUTSIDE_ROOT, f"{path} is a link to {real}, outside the clip root")
    if not real.is_file():
        raise ClipError(Reason.NOT_A_FILE, f"{path} is not a regular file")
    return real


def content_sha256(path: Path) -> str:
    """Hash of the whole file."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_sha256_in_state(path: Path) -> str:
    """The same; a file that has the size and the time of when this process last read it is not read again: a recording may be the
    file of hundreds of clips."""
    state = path.stat()
    return _content_in_state(path, state.st_size, state.st_mtime_ns)


def unchanged(footage: Footage | None, content_sha256: str) -> Footage:
    """Footage whose file holds what it held when raw_clips read it; None: it cannot be reached.

    Raises:
        ClipError: it cannot be reached, or holds something else now.
    """
    if footage is None:
        raise ClipError(Reason.UNREADABLE, "its file has disappeared: put it back")
    path = file_of(footage)
    if content_sha256_in_state(path) != content_sha256:
        raise ClipError(Reason.UNREADABLE, f"{path.name} has changed since raw_clips: materialize raw_clips again")
    return footage


@lru_cache(maxsize=256)
def _content_in_state(path: Path, size_bytes: int, mtime_ns: int) -> str:
    return content_sha256(path)


def probe(path: Path) -> MediaFacts:
    """Read the container's header.

    Raises:
        ClipError: the file is empty, unreadable, or has no video stream.
    """
    if path.stat().st_size == 0:
        raise ClipError(Reason.EMPTY_FILE, "the file has no bytes")
    try:
        with open_clip(path) as container:
            if not container.streams.video:
                raise ClipError(Reason.NO_VIDEO_STREAM, "the file has no video stream")
            stream = main_video(container)
            if stream.disposition & Disposition.attached_pic:
                raise ClipError(Reason.NO_VIDEO_STREAM, "the file holds sound and a cover picture, no video")
            if stream.codec_context is None or not (stream.codec_context.width and stream.codec_context.height):
                raise ClipError(Reason.UNREADABLE, "the video stream has no known codec or no size")
            return MediaFacts(
                fps=float(stream.average_rate) if stream.average_rate else None,
                frame_count=stream.frames or None,
                width=stream.codec_context.width,
                height=stream.codec_context.height,
                pixel_shape=pixel_shape(stream),
                transfer=_name(ColorTrc, stream.codec_context.color_trc),
                primaries=_name(ColorPrimaries, stream.codec_context.color_primaries),
                duration_s=_duration_s(path, container, stream),
                video_codec=stream.codec_context.name,
                has_audio=bool(container.streams.audio),
            )
    except av.FFmpegError as error:
        raise ClipError(Reason.UNREADABLE, f"the container cannot be opened: {error.strerror}") from error


def _name(tags: type[ColorTrc] | type[ColorPrimaries], number: int) -> str | None:
    """What FFmpeg calls the tag; None for an unspecified or reserved one."""
    return None if number == tags.UNSPECIFIED or number not in set(tags) else tags(number).name.lower()


def _duration_s(path: Path, container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """When the last frame ends: by the packets where the header has one duration for all streams, or the clock may break."""
    if stream.duration and stream.time_base and not breaks_off(container):
        return float(stream.duration * stream.time_base)
    try:
        return read_index(path).duration_s
    except ClipError:  # packets without timestamps: the survey will say what is wrong
        return container.duration / av.time_base if container.duration else None
