"""Frames of a clip at a rate in time.

Belongs here: which frames are asked for, and decoding exactly these. Not here: what is seen in them (`survey`).
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

from lafid_assets.ingest.packets import FrameIndex, open_clip, read_index
from lafid_assets.outcomes import ClipError, Reason
from model.encoding.footage import Footage, file_of
from model.encoding.shown import ShownFrame, main_video, shown_frames


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """One decoded frame with its exact place in time."""

    frame_index: int
    pts: int
    time_base: Fraction
    time_s: float
    image_rgb: NDArray[np.uint8]  # (H, W, 3)


def plan_samples(index: FrameIndex, rate_hz: float, max_frames: int) -> list[int]:
    """Timestamps of the first frame at or after every multiple of 1 / `rate_hz`; of a clip that has more than `max_frames` of
    these, as many at even distances over all of it."""
    first, last_s = index.pts[0], float((index.pts[-1] - index.pts[0]) * index.time_base)
    ticks = math.floor(last_s * rate_hz + 1e-6) + 1
    step_s = 1 / rate_hz
    if ticks > max_frames:
        ticks, step_s = max_frames, last_s / max(max_frames - 1, 1)
    wanted = [first + float(Fraction(step_s * tick - 1e-6) / index.time_base) for tick in range(ticks)]
    last = len(index.pts) - 1
    return sorted({index.pts[min(bisect_left(index.pts, stamp), last)] for stamp in wanted})


def spread(planned: Sequence[int], count: int) -> set[int]:
    """So many of the timestamps at most, at least two, evenly over all of them."""
    return {planned[number * (len(planned) - 1) // (count - 1)] for number in range(count)}


def decode_samples(
    footage: Footage, planned_pts: Sequence[int], watch: Callable[[ShownFrame], None] | None = None
) -> Iterator[SampledFrame]:
    """Decode linearly and yield the first frame at or after every planned timestamp.

    Times count from the first frame, so clips that start late or early are sampled alike. Linear decoding costs no more than
    seeking at 2 frames a second and denser (measured), and never yields a wrong frame.

    Args:
        watch: is shown every decoded frame; decoding then goes on to the clip's end.

    Raises:
        ClipError: the container or a packet cannot be decoded; frames yielded before stay valid.
    """
    try:
        with open_clip(file_of(footage)) as container:
            stream = main_video(container)
            stream.thread_count = 1
            first_pts: int | None = None
            taken = 0
            for shown in shown_frames(container, stream, footage):
                first_pts = shown.pts if first_pts is None else first_pts
                if watch is not None:
                    watch(shown)
                if taken < len(planned_pts) and shown.pts >= planned_pts[taken]:
                    while taken < len(planned_pts) and planned_pts[taken] <= shown.pts:
                        taken += 1
                    yield SampledFrame(shown.index, shown.pts, shown.time_base, shown.time_since(first_pts), shown.rgb())
                if taken == len(planned_pts) and watch is None:
                    return
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"decoding stopped: {error.strerror}") from error


def sample_frames(footage: Footage, rate_hz: float, max_frames: int) -> Iterator[SampledFrame]:
    """Plan, then decode.

    Raises:
        ClipError: the container or a packet cannot be read; frames yielded before stay valid.
    """
    yield from decode_samples(footage, plan_samples(read_index(footage), rate_hz, max_frames))


def frame_at(footage: Footage, frame_index: int) -> NDArray[np.uint8]:
    """The frame of that ordinal, (H, W, 3) RGB.

    Raises:
        ClipError: the clip cannot be decoded so far.
    """
    return frames_at(footage, {frame_index})[frame_index]


def frames_at(footage: Footage, wanted: Set[int]) -> dict[int, NDArray[np.uint8]]:
    """The frames of these ordinals, (H, W, 3) RGB each, in one linear pass.

    Raises:
        ClipError: the clip cannot be decoded so far.
    """
    frames: dict[int, NDArray[np.uint8]] = {}
    try:
        with open_clip(file_of(footage)) as container:
            for shown in shown_frames(container, main_video(container), footage):
                if shown.index in wanted:
                    frames[shown.index] = shown.rgb()
                if len(frames) == len(wanted):
                    return frames
    except av.FFmpegError as error:
        raise ClipError(
            Reason.DECODE_FAILED, f"decoding stopped before frame {min(wanted - frames.keys())}: {error.strerror}"
        ) from error
    raise ClipError(Reason.DECODE_FAILED, f"there is no frame {min(wanted - frames.keys())}")
