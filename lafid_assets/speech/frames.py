"""Pictures of a clip at wanted times, on the clock of its sound.

Belongs here: decoding a few stretches at a few pictures a second. Not here: what is seen in them (`lips`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
from numpy.typing import NDArray

from lafid_assets.ingest.packets import open_clip
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.speech.voice import Span
from model.encoding.footage import Footage, file_of
from model.encoding.shown import ShownFrame, main_video, shown_frames

_TIME_TOLERANCE_S = 1e-3
"""Time stamps are rounded to the stream's time base."""


@dataclass(frozen=True, eq=False)
class Look:
    """One picture that is looked at.

    Attributes:
        span_index: the wanted span in which it lies.
        time_s: seconds since the first picture.
        image: (H, W, 3) uint8 RGB, upright.
    """

    span_index: int
    time_s: float
    image: NDArray[np.uint8]


def sample_frames(footage: Footage, spans: Sequence[Span], fps: float) -> Iterator[Look]:
    """Pictures within `spans`, at most `fps` a second, in order of time.

    One linear pass up to the end of the last span, which costs less than seeking at such densities; only kept pictures
    are converted. Spans are in order and do not overlap.

    Raises:
        ClipError: `decode_failed`, naming the file.
    """
    if not spans:
        return
    path = file_of(footage)
    try:
        with open_clip(path) as container:
            if not container.streams.video:
                return
            stream = main_video(container)
            stream.thread_type = "NONE"
            yield from _within(shown_frames(container, stream, footage), spans, fps)
    except (av.FFmpegError, OSError) as error:  # its own text would repeat the path, and this machine's folders with it
        raise ClipError(Reason.DECODE_FAILED, f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise ClipError(Reason.DECODE_FAILED, f"{path.name}: {error}") from error


def _within(frames: Iterator[ShownFrame], spans: Sequence[Span], fps: float) -> Iterator[Look]:
    first_pts: int | None = None
    waiting = list(enumerate(spans))
    due_s = spans[0].start_s
    for frame in frames:
        first_pts = frame.pts if first_pts is None else first_pts
        time_s = frame.time_since(first_pts)
        while waiting and time_s > waiting[0][1].end_s + _TIME_TOLERANCE_S:
            waiting.pop(0)
            due_s = waiting[0][1].start_s if waiting else due_s
        if not waiting:
            return
        if time_s >= due_s - _TIME_TOLERANCE_S:
            due_s = max(due_s + 1 / fps, time_s + 0.5 / fps)
            yield Look(waiting[0][0], time_s, frame.rgb())
