"""A few looks into a clip for as little decoding as possible.

Belongs here: which frames the scan looks at, and decoding these. Not here: what is seen in them (`scan`), dense sampling
(`sampling`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import av

from lafid_assets.ingest.packets import FrameIndex, open_clip
from lafid_assets.outcomes import ClipError, Reason
from model.encoding.footage import Footage, file_of
from model.encoding.shown import ShownFrame, frames_from, main_video, shown_frames

KEYFRAME_SNAP = 0.25
"""A look moves to a keyframe that is nearer than this share of the distance between two looks."""


@dataclass(frozen=True, eq=False)
class LookedAtFrame:
    """One decoded frame of a look, with its exact place in time."""

    frame_index: int
    pts: int
    time_base: Fraction
    time_s: float
    shown: ShownFrame


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


def look_into(footage: Footage, index: FrameIndex, planned_pts: list[int]) -> Iterator[LookedAtFrame]:
    """Decode the first frame at or after each planned timestamp, in order; stop asking and nothing more is decoded.

    Frames that no other refers to are left out and the deblocking filter is off: half of the decoding time, for pixels that
    differ a little from the survey's. A seek is made where a keyframe lies between two looks, unless timestamps begin anew.

    Raises:
        ClipError: the container or a packet cannot be decoded; frames yielded before stay valid.
    """
    try:
        with open_clip(file_of(footage)) as container:
            stream = main_video(container)
            stream.thread_count = 1
            stream.codec_context.skip_frame = "NONREF"
            stream.codec_context.options = {"skip_loop_filter": "all"}
            frames = shown_frames(container, stream, footage)
            position = index.pts[0]
            for wanted in planned_pts:
                governing = index.keyframe_pts[bisect_right(index.keyframe_pts, wanted) - 1]
                if governing > position and index.runs == 1:
                    frames = frames_from(container, stream, governing, wanted)
                shown = next((shown for shown in frames if shown.pts >= wanted), None)
                if shown is None:
                    return
                position = shown.pts
                place, time_s = bisect_left(index.pts, position), shown.time_since(index.pts[0])
                yield LookedAtFrame(place, position, index.time_base, time_s, shown)
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"decoding stopped: {error.strerror}") from error
