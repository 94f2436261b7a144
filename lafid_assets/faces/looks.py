"""A few looks into a clip for as little decoding as possible.

Belongs here: which frames the scan looks at, and decoding these. Not here: what is seen in them (`scan`), dense sampling
(`sampling`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from lafid_assets.ingest.media_probe import open_clip
from lafid_assets.outcomes import ClipError, Reason
from model.encoding.video_io import upright_rgb

KEYFRAME_SNAP = 0.25
"""A look moves to a keyframe that is nearer than this share of the distance between two looks."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """What the packets tell without decoding: timestamps of all frames in the order of showing, and of those where decoding
    can begin (the first one counts)."""

    pts: list[int]
    keyframe_pts: list[int]
    time_base: Fraction


@dataclass(frozen=True, eq=False)
class LookedAtFrame:
    """One decoded frame of a look, with its exact place in time."""

    frame_index: int
    pts: int
    time_base: Fraction
    time_s: float
    frame: av.VideoFrame

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as shown."""
        size = self.frame.width, self.frame.height
        return size[::-1] if self.frame.rotation % 180 else size

    def image_rgb(self, side_px: int | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, upright; reduced to a longer side of `side_px` where that is less.

        By averages over areas: swscale's bicubic default aliases when it reduces, and costs three times as much.
        """
        frame, longer = self.frame, max(self.frame.width, self.frame.height)
        if side_px is None or side_px >= longer:
            return upright_rgb(frame)
        width, height = (max(1, round(edge * side_px / longer)) for edge in (frame.width, frame.height))
        reduced = np.asarray(frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray(), np.uint8)
        return np.ascontiguousarray(np.rot90(reduced, frame.rotation // 90)) if frame.rotation else reduced


def read_index(path: Path) -> FrameIndex:
    """Read every packet, decode none.

    Raises:
        ClipError: the container cannot be read, or its frames carry no timestamps.
    """
    try:
        with open_clip(path) as container:
            stream = container.streams.video[0]
            packets = [
                (packet.pts, packet.is_keyframe) for packet in container.demux(stream) if packet.size and not packet.is_discard
            ]
            time_base = stream.time_base
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"reading packets stopped: {error.strerror}") from error
    stamps = sorted(pts for pts, _ in packets if pts is not None)
    if not stamps or len(stamps) < len(packets) or time_base is None:
        raise ClipError(Reason.DECODE_FAILED, f"{len(packets) - len(stamps)} of {len(packets)} packets have no timestamp")
    keyframes = {stamps[0]} | {pts for pts, is_key in packets if is_key and pts is not None}
    return FrameIndex(stamps, sorted(keyframes), time_base)


def plan_looks(index: FrameIndex, count: int) -> list[int]:
    """Timestamps of at most `count` frames, evenly spaced from the first frame on; where a keyframe is near, that one.

    The last look is one step before the end: what follows would cost decoding and show little more.
    """
    first, last = index.pts[0], index.pts[-1]
    step = (last - first) / count
    chosen = set()
    for number in range(count):
        wanted = first + number * step
        place = bisect_left(index.keyframe_pts, wanted)
        distances = [(abs(pts - wanted), pts) for pts in index.keyframe_pts[max(place - 1, 0) : place + 1]]
        distance, keyframe = min(distances)
        is_near = distance <= KEYFRAME_SNAP * step
        chosen.add(keyframe if is_near else index.pts[bisect_left(index.pts, round(wanted))])
    return sorted(chosen)


def look_into(path: Path, index: FrameIndex, planned_pts: list[int]) -> Iterator[LookedAtFrame]:
    """Decode the first frame at or after each planned timestamp, in order; stop asking and nothing more is decoded.

    Frames that no other refers to are left out and the deblocking filter is off: half of the decoding time, for pixels that
    differ a little from the survey's. A seek is made where a keyframe lies between two looks.

    Raises:
        ClipError: the container or a packet cannot be decoded; frames yielded before stay valid.
    """
    try:
        with open_clip(path) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            stream.codec_context.skip_frame = "NONREF"
            stream.codec_context.options = {"skip_loop_filter": "all"}
            frames = container.decode(stream)
            position = index.pts[0]
            for wanted in planned_pts:
                governing = index.keyframe_pts[bisect_right(index.keyframe_pts, wanted) - 1]
                if governing > position:
                    container.seek(governing, stream=stream)
                    frames = container.decode(stream)
                found = next(((frame.pts, frame) for frame in frames if frame.pts is not None and frame.pts >= wanted), None)
                if found is None:
                    return
                position, frame = found
                time_s = float((position - index.pts[0]) * index.time_base)
                yield LookedAtFrame(bisect_left(index.pts, position), position, index.time_base, time_s, frame)
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"decoding stopped: {error.strerror}") from error
