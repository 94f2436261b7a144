"""Videos as arrays: frames by time out of any file, mp4 into one.

Belongs here: decoding at given seconds, fitting to a size, encoding. Not here: what a decoded frame looks like (`shown`), probing
or judging raw footage (curation).
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from numpy.typing import NDArray
from PIL import Image

from model.encoding.footage import Footage, file_of
from model.encoding.shown import ShownFrame, main_video, shown_frames
from model.files import whole_file

Frames = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""

# Visually lossless: what is lost is the chroma resolution of yuv420p, the only layout that every player shows. Small frames
# feel that most, hence AREA below: the chroma of a block is its mean.
# The macroblock tree's decisions depend on what the heap held before: without it, equal frames give equal bytes.
_X264_OPTIONS = {"crf": "6", "preset": "slow", "threads": "1", "x264-params": "mbtree=0:cpu-independent=1"}
_INDEX_FIRST = {"movflags": "+faststart"}


class VideoError(ValueError):
    """A video cannot be read as asked; the message names the file."""


def frame_times(count: int, fps: float, start_s: float = 0.0) -> list[float]:
    """Evenly spaced seconds from the video's first frame."""
    return [start_s + index / fps for index in range(count)]


def read_frames(footage: Footage, times_s: Sequence[float]) -> Frames:
    """The frame on screen at each of `times_s` (ascending seconds from the first frame), whatever the file's own rate.

    Raises:
        VideoError: the file holds no video, breaks off, is too short, or its pictures change their size between these times.
    """
    shown: list[NDArray[np.uint8]] = []
    path = file_of(footage)
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise VideoError(f"{path} has no video stream")
            _decode_at(container, footage, times_s, shown)
    except av.FFmpegError as error:
        raise VideoError(f"{path} cannot be decoded: {error}") from error
    if len(shown) < len(times_s):
        raise VideoError(f"{path} is too short: nothing is shown at {times_s[len(shown)]:.2f} s")
    for frame, time_s in zip(shown, times_s, strict=True):
        if frame.shape != shown[0].shape:
            (height, width, _), (first_height, first_width, _) = frame.shape, shown[0].shape
            told = f"{width} x {height} px at {time_s:.2f} s, {first_width} x {first_height} px at {times_s[0]:.2f} s"
            raise VideoError(f"{path} changes its size: {told}")
    return np.stack(shown)


class Window(NamedTuple):
    """A part of a frame, in its pixels and fractions of them."""

    left: float
    top: float
    width: float
    height: float


def cut_window(
    source_height: int, source_width: int, height: int, width: int, centre_xy_px: tuple[float, float] | None = None
) -> Window:
    """The largest part of a frame with the aspect of height x width, around `centre_xy_px` (the middle, unless given)."""
    scale = min(source_height / height, source_width / width)
    # Rounding must not make it larger than the frame, out of which Pillow cuts nothing.
    cut_height, cut_width = min(height * scale, source_height), min(width * scale, source_width)
    x, y = centre_xy_px or (source_width / 2, source_height / 2)
    left = min(max(x - cut_width / 2, 0), source_width - cut_width)
    top = min(max(y - cut_height / 2, 0), source_height - cut_height)
    return Window(left, top, cut_width, cut_height)


def fit_frames(frames: Frames, height: int, width: int, centre_xy_px: tuple[float, float] | None = None) -> Frames:
    """Cuts frames to the aspect of height x width around `centre_xy_px` (the middle, unless given) and scales them."""
    _, source_height, source_width, _ = frames.shape
    window = cut_window(source_height, source_width, height, width, centre_xy_px)
    box = (window.left, window.top, window.left + window.width, window.top + window.height)
    resized = [Image.fromarray(frame).resize((width, height), Image.Resampling.BICUBIC, box=box) for frame in frames]
    return np.stack([np.asarray(image) for image in resized])


def write_mp4(path: Path, frames: Frames, fps: float, comment: str | None = None) -> None:
    """H.264 in mp4 that any player shows, and from its first bytes on; BT.709 of limited range, tagged; whole or not at all.

    Args:
        comment: kept in the file's metadata.

    Raises:
        VideoError: height or width is odd, which yuv420p cannot hold.
    """
    _, height, width, _ = frames.shape
    if height % 2 or width % 2:
        raise VideoError(f"{path}: {width} x {height} has an odd side, which yuv420p cannot hold")
    with whole_file(path) as temporary, av.open(str(temporary), "w", options=_INDEX_FIRST) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options=_X264_OPTIONS)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        tag_bt709(stream.codec_context)
        for frame in frames:
            container.mux(stream.encode(bt709_frame(frame)))
        container.mux(stream.encode(None))


def tag_bt709(codec: av.VideoCodecContext) -> None:
    """Has the stream say what `bt709_frame` makes of pictures: without tags players guess the matrix by the size."""
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def bt709_frame(picture: NDArray[np.uint8]) -> av.VideoFrame:
    """A picture (H, W, 3) of even sides as yuv420p, by BT.709's matrix in limited range."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    return frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG, interpolation=Interpolation.AREA
    )


def _decode_at(
    container: av.container.InputContainer, footage: Footage, times_s: Sequence[float], shown: list[NDArray[np.uint8]]
) -> None:
    """Appends to `shown` the frame on screen at each time; fewer where the video ends before."""
    stream = main_video(container)
    first_pts: int | None = None
    current: ShownFrame | None = None
    for frame in shown_frames(container, stream, footage):
        first_pts = frame.pts if first_pts is None else first_pts
        # A frame stays on screen until the next one comes.
        while current is not None and len(shown) < len(times_s) and times_s[len(shown)] < frame.time_since(first_pts):
            shown.append(current.rgb())
        if len(shown) == len(times_s):
            return
        current = frame
    if current is None or first_pts is None:
        return
    rate = stream.average_rate
    end_s = current.time_since(first_pts) + max(current.held_s, float(1 / rate) if rate else 0.0)
    while len(shown) < len(times_s) and times_s[len(shown)] < end_s:
        shown.append(current.rgb())
