"""Footage as a viewer sees it: the one place that decoded frames pass through.

Belongs here: turning and mirroring, square pixels, colours, a clock that only rises. Not here: which frames are wanted, opening
files (each user has its own rules for that), the arithmetic of HDR (`tone_map`).
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

from model.encoding.footage import Footage, Piece
from model.encoding.seeking import breaks_off, landings, packets_from
from model.encoding.tone_map import needs_mapping, to_sdr

BELIEVABLE_PIXEL_SHAPES = (0.25, 4.0)
"""Width / height of pixels that real footage has; anything else is a damaged header and taken as square."""
SQUARE_TOLERANCE = 0.01
"""Pixels nearer to square than this are shown as they are: the difference cannot be seen, scaling costs sharpness."""
HD_LONGER_PX, HD_SHORTER_PX = 1280, 577
"""Untagged YUV with a side of at least this length is BT.709, smaller is BT.601: what players take it for."""
UNTAGGED = 2
_COLOURS = ("color_trc", "color_primaries", "colorspace")
_FREELY_REORDERED = ("h264", "hevc")
"""Codecs of which FFmpeg cannot tell when frames are shown where the container, AVI, does not say it."""
BACKWARDS_S = 0.5
"""A timestamp that falls by more begins a new run; less is a muxer's rounding."""
JUMP_S = 10.0
"""The same for a leap forward, in containers whose clock may break off (MPEG streams)."""


def pixel_shape(told_by: av.VideoStream | av.VideoCodecContext) -> float:
    """Width / height of a pixel before turning: of the stream, or where its decoder has got to."""
    told = told_by.sample_aspect_ratio
    shape = float(told) if told else 1.0
    least, most = BELIEVABLE_PIXEL_SHAPES
    return shape if least <= shape <= most else 1.0


def main_video(container: av.container.InputContainer) -> av.VideoStream:
    """The stream that a player shows: of those that are no cover picture the one of the most pixels, the first of several.

    Covers come before the film in some files, and so do previews.
    """
    films = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return max(films or container.streams.video, key=_pixels)


def _pixels(stream: av.VideoStream) -> int:
    context = stream.codec_context
    return 0 if context is None else context.width * context.height


class RisingClock:
    """Timestamps of one stream on a clock that only rises: a run of timestamps that begins anew goes on where the last one ended.

    Attributes:
        step: how long a frame is shown, in units of the time base; 1 where the stream has no rate.
        runs: how often timestamps have begun so far.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        base = stream.time_base or Fraction(1, av.time_base)
        self.step = max(1, round(1 / (stream.average_rate * base))) if stream.average_rate else 1
        self._fall = BACKWARDS_S / base
        self._leap = JUMP_S / base if breaks_off(container) else float("inf")
        self._offset = 0
        self._last: int | None = None
        self._end: int | None = None
        self.runs = 1

    def rise(self, pts: int, order: int | None) -> int:
        """The timestamp on the rising clock.

        Args:
            order: by which it is in order: of a packet its decoding timestamp, of a frame `pts` itself. None: a packet without
                one, as Matroska's first ones, whose `pts` go to and fro; it begins no run.
        """
        if order is not None:
            if self._last is not None and self._end is not None and not -self._fall <= order - self._last <= self._leap:
                self._offset = self._end + self.step - pts
                self.runs += 1
            self._last = order
        risen = pts + self._offset
        self._end = risen if self._end is None else max(self._end, risen)
        return risen


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """One decoded frame in its place.

    Attributes:
        index: ordinal in the order of showing since decoding began.
        pts: its timestamp on the rising clock, in units of `time_base`.
    """

    index: int
    pts: int
    time_base: Fraction
    frame: av.VideoFrame
    pixel_shape: float

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height as shown."""
        width, height = self._square()
        return (height, width) if self._is_on_its_side else (width, height)

    @property
    def held_s(self) -> float:
        """How long its container says that it is shown; 0 where it does not say."""
        return float((self.frame.duration or 0) * self.time_base)

    def time_since(self, first_pts: int) -> float:
        """Seconds since the frame of that timestamp."""
        return float((self.pts - first_pts) * self.time_base)

    def rgb(self, side_px: int | None = None) -> NDArray[np.uint8]:
        """(H, W, 3) RGB; reduced to a longer side of `side_px` where that is less.

        By averages over areas: swscale's bicubic default aliases when it reduces, and costs three times as much.
        """
        width, height = self._square()
        interpolation = Interpolation.BILINEAR if (width, height) == self._stored else Interpolation.BICUBIC
        if side_px is not None and side_px < max(width, height):
            scale = side_px / max(width, height)
            width, height = max(1, round(width * scale)), max(1, round(height * scale))
            interpolation = Interpolation.AREA
        frame = self.frame
        mapped = needs_mapping(frame.color_trc, frame.color_primaries)
        layout, matrix = "rgb48le" if mapped else "rgb24", self._colorspace()
        image = frame.reformat(width, height, layout, matrix, interpolation=interpolation, threads=1).to_ndarray()
        picture = (
            to_sdr(image.astype(np.uint16, copy=False), frame.color_trc, frame.color_primaries)
            if mapped
            else image.astype(np.uint8, copy=False)
        )
        return self._turned(picture)

    @property
    def _stored(self) -> tuple[int, int]:
        return self.frame.width, self.frame.height

    def _square(self) -> tuple[int, int]:
        """Size in square pixels, before turning: the shorter side of a pixel is stretched, so that nothing is lost."""
        width, height = self._stored
        if abs(self.pixel_shape - 1) <= SQUARE_TOLERANCE:
            return width, height
        return (round(width * self.pixel_shape), height) if self.pixel_shape > 1 else (width, round(height / self.pixel_shape))

    def _colorspace(self) -> Colorspace | None:
        """What swscale is told of the matrix; None: what the frame itself says, or that it is RGB."""
        if self.frame.colorspace != UNTAGGED or self.frame.format.is_rgb:
            return None
        is_hd = max(self._stored) >= HD_LONGER_PX or min(self._stored) >= HD_SHORTER_PX
        return Colorspace.ITU709 if is_hd else Colorspace.ITU601

    @property
    def _matrix(self) -> tuple[int, int, int, int]:
        """a, b, c, d of the display matrix: a pixel at (x, y) is shown at (a x + c y, b x + d y)."""
        all_side_data: Any = self.frame.side_data  # PyAV's stub knows one kind alone
        side_data = all_side_data.get(Type.DISPLAYMATRIX)
        if side_data is None:
            return 1, 0, 0, 1
        a, b, _, c, d = np.frombuffer(memoryview(side_data), np.int32, 5).tolist()
        return a, b, c, d

    @property
    def _is_on_its_side(self) -> bool:
        a, b, c, d = self._matrix
        return abs(b) + abs(c) > abs(a) + abs(d)

    def _turned(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        a, b, c, d = self._matrix
        if self._is_on_its_side:
            image, a, d = image.swapaxes(0, 1), c, b
        return np.ascontiguousarray(image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def shown_frames(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    footage: Footage | None = None,
    passed_over: Callable[[av.FFmpegError], None] | None = None,
) -> Iterator[ShownFrame]:
    """Decode linearly; frames without a timestamp are passed over.

    Args:
        footage: what is wanted of the container: of a piece its frames alone are shown, and counted from its first one.
        passed_over: told of every packet that cannot be decoded, behind which decoding goes on; None: it ends there. Of a piece
            no such packet counts: it was cut where one lies, and its last frame may leave the decoder behind that one.

    Raises:
        av.FFmpegError: a packet cannot be decoded; frames yielded before stay valid.
    """
    if not isinstance(footage, Piece):
        yield from _decoded(container, stream, container.demux(stream), passed_over)
        return
    if footage.keyframe_pts is None:
        frames = _decoded(container, stream, container.demux(stream), _ignore)
    else:
        frames = frames_from(container, stream, footage.keyframe_pts, footage.first_pts, _ignore)
    before: int | None = None
    for shown in frames:
        if shown.pts > footage.last_pts:
            return
        if shown.pts >= footage.first_pts:
            before = shown.index if before is None else before
            yield replace(shown, index=shown.index - before)


def frames_from(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    keyframe_pts: int,
    first_pts: int,
    passed_over: Callable[[av.FFmpegError], None] | None = None,
) -> Iterator[ShownFrame]:
    """Decode from that keyframe on, or from further back where the frame of `first_pts` needs more: pictures that are refreshed
    little by little have no whole keyframe.

    Raises:
        av.FFmpegError: a packet cannot be decoded; frames yielded before stay valid.
    """
    frames = _decoded(container, stream, packets_from(container, stream, keyframe_pts), passed_over)
    first = next(frames, None)
    if first is None or first.pts > first_pts:
        for _ in landings(container, stream, keyframe_pts):
            frames = _decoded(container, stream, container.demux(stream), passed_over)
            first = next(frames, None)
            if first is not None and first.pts <= first_pts:
                break
    return frames if first is None else itertools.chain([first], frames)


def _ignore(_: av.FFmpegError) -> None:
    """Pass over a piece's packet that cannot be decoded."""


def _decoded(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    packets: Iterator[Packet],
    passed_over: Callable[[av.FFmpegError], None] | None,
) -> Iterator[ShownFrame]:
    clock, shape, told = RisingClock(container, stream), pixel_shape(stream), _told_colours(stream)
    frames = _frames(packets, passed_over)
    if container.format.name == "avi" and stream.codec_context and stream.codec_context.name in _FREELY_REORDERED:
        frames = _timed_by_decoder(frames, clock.step)
    for index, frame in enumerate(frames):
        _tag(frame, stream, told)
        if frame.key_frame and breaks_off(container):  # television changes it between programmes
            shape = pixel_shape(stream.codec_context)
        if frame.pts is not None and frame.time_base is not None:
            yield ShownFrame(index, clock.rise(frame.pts, frame.pts), frame.time_base, frame, shape)


def _timed_by_decoder(frames: Iterator[av.VideoFrame], step: int) -> Iterator[av.VideoFrame]:
    """Frames whose packets tell in which order they are decoded alone: each is shown when the decoder hands it out, counted from
    the first one. What it hands out in the end, without a packet, follows at steps."""
    late = 0
    last: int | None = None
    for frame in frames:
        if frame.pts is not None:
            if last is None:
                late = 0 if frame.dts is None else frame.dts - frame.pts
            else:
                frame.pts = last + step if frame.dts is None else frame.dts - late
            last = frame.pts
        yield frame


def _told_colours(stream: av.VideoStream) -> dict[str, int]:
    """What the container says of colours, by attributes of frames and codec contexts; nothing where no decoder will be asked."""
    tags = {name: getattr(stream.codec_context, name, UNTAGGED) for name in _COLOURS}
    return {name: tag for name, tag in tags.items() if tag != UNTAGGED}


def _tag(frame: av.VideoFrame, stream: av.VideoStream, told: dict[str, int]) -> None:
    """Have a frame without tags say what the container says.

    Decoders of HEVC and ProRes forget it: the context, too, is told again, for whoever goes on decoding.
    """
    for name, tag in told.items():
        if getattr(frame, name) == UNTAGGED:
            setattr(frame, name, tag)
            setattr(stream.codec_context, name, tag)


def _frames(packets: Iterator[Packet], passed_over: Callable[[av.FFmpegError], None] | None) -> Iterator[av.VideoFrame]:
    for packet in packets:
        try:
            yield from packet.decode()
        except av.FFmpegError as error:
            if passed_over is None:
                raise
            passed_over(error)
