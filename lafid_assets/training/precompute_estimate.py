"""What precomputing will take, in one line before it begins: clips, bytes, hours on this hardware.

Belongs here: that line, and measuring how long one clip takes. Not here: encoding clips (`encoding`), how far it is (`progress`).
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from model.clip_size import Bucket
from model.clips.clip_bytes import part_bytes
from model.presets import Preset

if TYPE_CHECKING:
    from model.encoding.encoders import ClipEncoders

_CROP_SIDE_PX = 512
_LONGEST_READ_S = 6.0
_CORE_S_A_PIXEL = 5.8 / (_LONGEST_READ_S * 1920 * 1080)
"""Of decoding a second of one pixel: six seconds of 1080p took 5.8 s of a core, with frames for the window and for the views.
Of a longer clip no more is read, about."""


@dataclass(frozen=True)
class Forecast:
    """What is to be encoded, and at what pace.

    Attributes:
        view_bytes: of `bytes`, what one view of each clip's face takes: `ClipSize.views` is the choice that makes a clip smaller.
        seconds: of one process's encoding, on a device like this one.
        decoding_core_s: seconds of one core that decoding takes, which goes on beside it.
        measured: the size of clip of which the pace was measured, and the seconds that one took.
    """

    clips: int
    bytes: int
    view_bytes: int
    seconds: float
    decoding_core_s: float
    measured: tuple[Bucket, float]
    device: str

    def line(self, cores: int, processes: int = 1) -> str:
        """The estimate in words, for so many processes at a time with so many cores each to decode."""
        (frames, height, width), seconds = self.measured
        beside = "" if processes == 1 else f" by {processes} processes"
        encoding_s, decoding_s = self.seconds / processes, self.decoding_core_s / (cores * processes)
        return (
            f"{self.clips:,} clips to encode, about {_size(self.bytes)} (one view less of each face saves "
            f"{_size(self.view_bytes)}), about {span(max(encoding_s, decoding_s))}: encoding {span(encoding_s)} on "
            f"{self.device}{beside} (a black clip of {frames} x {height} x {width} took {seconds:.2f} s), beside it decoding "
            f"{span(decoding_s)} on {cores * processes} cores"
        )


def decoding_core_s(duration_s: float, height: int, width: int) -> float:
    """Seconds of one core that decoding a clip takes, about."""
    return min(duration_s, _LONGEST_READ_S) * height * width * _CORE_S_A_PIXEL


def bytes_in_words(sizes: Mapping[Bucket, int], chosen: Preset) -> str:
    """About what so many clips of each size take."""
    return _size(_bytes(sizes, chosen, chosen.clip.views + 1))


def forecast(sizes: Mapping[Bucket, int], core_s: float, chosen: Preset, encoders: "ClipEncoders") -> Forecast:
    """Time for so many clips of each size, at the pace of a black clip of the largest size, measured now. Time goes with pixels.

    Args:
        sizes: not empty.
        core_s: `decoding_core_s` of all of them.
    """
    import torch

    largest = max(sizes, key=math.prod)
    _encode_black(chosen, largest, encoders)  # the first one also pays for what kernels are chosen and loaded
    begin = time.perf_counter()
    _encode_black(chosen, largest, encoders)
    took_s = time.perf_counter() - begin
    device = encoders.base.codec.device

    views = chosen.clip.views + 1
    return Forecast(
        clips=sum(sizes.values()),
        bytes=_bytes(sizes, chosen, views),
        view_bytes=_bytes(sizes, chosen, views) - _bytes(sizes, chosen, views - 1),
        seconds=took_s * sum(count * math.prod(size) for size, count in sizes.items()) / math.prod(largest),
        decoding_core_s=core_s,
        measured=(largest, took_s),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU",
    )


def _bytes(sizes: Mapping[Bucket, int], chosen: Preset, views: int) -> int:
    return sum(count * sum(part_bytes(chosen, size, views).values()) for size, count in sizes.items())


def _encode_black(chosen: Preset, size: Bucket, encoders: "ClipEncoders") -> None:
    """All parts of a clip whose pictures are black, with as many views as a clip may have, and its two captions."""
    import numpy as np

    from model.encoding.views import encode_views

    views = chosen.clip.views + 1
    frames = np.zeros((*size, 3), np.uint8)
    crops = [np.zeros((_CROP_SIDE_PX, _CROP_SIDE_PX, 3), np.uint8)] * views
    mean, _ = encoders.moments(frames)
    encoders.condition(frames)
    encode_views(
        encoders, crops, np.ones((views, 1), np.float32), np.zeros((views, 3), np.float32), chosen.clip.view_side, size[1:]
    )
    encoders.texts(["black", "dark"])
    mean.sum().item()


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def span(seconds: float) -> str:
    """A time in the unit that suits it."""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
