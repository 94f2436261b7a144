"""Frames of a clip at a rate in time.

Belongs here: which frames are asked for, and decoding exactly these. Not here: what is seen in them (`survey`).
"""

import math
from collections.abc import Iterator, Set
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from lafid_assets.ingest.media_probe import open_clip
from lafid_assets.outcomes import ClipError, Reason
from model.encoding.video_io import upright_rgb


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """One decoded frame with its exact place in time."""

    frame_index: int
    pts: int
    time_base: Fraction
    time_s: float
    image_rgb: NDArray[np.uint8]  # (H, W, 3)


def sample_frames(path: Path, rate_hz: float, max_frames: int) -> Iterator[SampledFrame]:
    """Decode linearly and yield the first frame at or after every multiple of 1 / `rate_hz`, at most `max_frames`.

    Times count from the first frame's timestamp, so clips that start late or early are sampled alike. Linear decoding costs
    no more than seeking at 2 frames a second and denser (measured), and never yields a wrong frame.

    Raises:
        ClipError: the container or a packet cannot be decoded; frames yielded before stay valid.
    """
    try:
        with open_clip(path) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1
            first_pts: int | None = None
            wanted = 0
            for frame_index, frame in enumerate(container.decode(stream)):
                if frame.pts is None or frame.time_base is None:
                    raise ClipError(Reason.DECODE_FAILED, f"frame {frame_index} has no timestamp")
                first_pts = frame.pts if first_pts is None else first_pts
                time_s = float((frame.pts - first_pts) * frame.time_base)
                if time_s + 1e-6 < wanted / rate_hz:
                    continue
                wanted = int((time_s + 1e-6) * rate_hz) + 1
                yield SampledFrame(frame_index, frame.pts, frame.time_base, time_s, upright_rgb(frame))
                max_frames -= 1
                if max_frames == 0:
                    return
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"decoding stopped: {error.strerror}") from error


def frames_to_expect(duration_s: float | None, rate_hz: float, max_frames: int) -> int | None:
    """How many frames `sample_frames` asks for in a clip of this length; None when the length is unknown.

    It may yield one less, where no frame starts after the last moment that was asked for.
    """
    return None if duration_s is None else max(1, min(max_frames, math.ceil(duration_s * rate_hz - 1e-6)))


def frame_at(path: Path, frame_index: int) -> NDArray[np.uint8]:
    """The frame of that ordinal, (H, W, 3) RGB.

    Raises:
        ClipError: the clip cannot be decoded so far.
    """
    return frames_at(path, {frame_index})[frame_index]


def frames_at(path: Path, wanted: Set[int]) -> dict[int, NDArray[np.uint8]]:
    """The frames of these ordinals, (H, W, 3) RGB each, in one linear pass.

    Raises:
        ClipError: the clip cannot be decoded so far.
    """
    frames: dict[int, NDArray[np.uint8]] = {}
    try:
        with open_clip(path) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index in wanted:
                    frames[index] = upright_rgb(frame)
                if len(frames) == len(wanted):
                    return frames
    except av.FFmpegError as error:
        raise ClipError(
            Reason.DECODE_FAILED, f"decoding stopped before frame {min(wanted - frames.keys())}: {error.strerror}"
        ) from error
    raise ClipError(Reason.DECODE_FAILED, f"there is no frame {min(wanted - frames.keys())}")
