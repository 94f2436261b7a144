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


@dataclass(frozen=True)
class Forecast:
    """What is to be encoded, and at what pace.

    Attributes:
        view_bytes: of `bytes`, what one view of each clip's face takes: `ClipSize.views` is the choice that makes a clip smaller.
        seconds: of one process, on a device like this one; reading the clips goes on beside it.
        measured: the size of clip of which the pace was measured, and the seconds that one took.
    """

    clips: int
    bytes: int
    view_bytes: int
    seconds: float
    measured: tuple[Bucket, float]
    device: str

    def line(self, processes: int = 1) -> str:
        """The estimate in words, for so many processes at a time."""
        (frames, height, width), seconds = self.measured
        beside = "" if processes == 1 else f" by {processes} processes"
        return (
            f"{self.clips:,} clips to encode, about {_size(self.bytes)} (one view less of each face saves "
            f"{_size(self.view_bytes)}), about {span(self.seconds / processes)} on {self.device}{beside} "
            f"(a black clip of {frames} x {height} x {width} took {seconds:.2f} s)"
        )


def forecast(sizes: Mapping[Bucket, int], chosen: Preset, encoders: "ClipEncoders") -> Forecast:
    """Time for so many clips of each size, at the pace of a black clip of the largest size, measured now. Time goes with pixels.

    Args:
        sizes: not empty.
    """
    import torch

    largest = max(sizes, key=math.prod)
    _encode_black(chosen, largest, encoders)  # the first one also pays for what kernels are chosen and loaded
    begin = time.perf_counter()
    _encode_black(chosen, largest, encoders)
    took_s = time.perf_counter() - begin
    device = encoders.base.codec.device

    def all_bytes(views: int) -> int:
        return sum(count * sum(part_bytes(chosen, size, views).values()) for size, count in sizes.items())

    views = chosen.clip.views + 1
    return Forecast(
        clips=sum(sizes.values()),
        bytes=all_bytes(views),
        view_bytes=all_bytes(views) - all_bytes(views - 1),
        seconds=took_s * sum(count * math.prod(size) for size, count in sizes.items()) / math.prod(largest),
        measured=(largest, took_s),
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU",
    )


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
