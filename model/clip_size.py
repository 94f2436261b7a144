"""How large training clips are: the sizes that a preset has, and which of them a clip falls into.

Belongs here: frames, height, width and rate, and arithmetic on them. Not here: which sizes a preset has (`presets`), cutting and
scaling footage (`encoding.video_io`).
"""

import math
from typing import NamedTuple

from pydantic import Field, PositiveInt

from model.strict import StrictModel


class Bucket(NamedTuple):
    """The size of a training clip's video; clips of one bucket can share a forward."""

    frames: int
    height: int
    width: int


class ClipSize(StrictModel):
    """The tensors of one training clip, in pixels and frames: its video, and the views of its face beside it."""

    frames: PositiveInt = Field(9, description="frames of a clip")
    height: PositiveInt = Field(64, description="pixels; a multiple of the codec's factor times the patch")
    width: PositiveInt = Field(64, description="pixels; a multiple of the codec's factor times the patch")
    fps: float = Field(8.0, gt=0, description="frames a second; clips are cut by time, whatever rate they were filmed at")
    shorter_frames: tuple[PositiveInt, ...] = Field((), description="further lengths, for clips that last less than `frames`")
    shapes: tuple[tuple[PositiveInt, PositiveInt], ...] = Field(
        (), description="further (height, width), for clips whose aspect they are nearer to"
    )
    views: PositiveInt = Field(4, description="most views of the face that are cached, beside that of the first frame")
    view_side: PositiveInt = Field(32, description="pixels a side of a cached view; a multiple like height and width")

    @property
    def bucket(self) -> Bucket:
        """The main size: what is drawn where nobody asks for another."""
        return Bucket(self.frames, self.height, self.width)

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """Every size that training may see, sorted."""
        shapes = {(self.height, self.width), *self.shapes}
        return tuple(sorted(Bucket(frames, *shape) for frames in {self.frames, *self.shorter_frames} for shape in shapes))

    def window_s(self, bucket: Bucket) -> float:
        """Seconds from the first frame of a clip of this size to its last."""
        return (bucket.frames - 1) / self.fps

    def bucket_for(self, duration_s: float, height: int, width: int) -> Bucket | None:
        """Where a clip belongs: of the sizes nearest to its aspect (as a ratio) the longest that it covers.

        None where it covers not even the shortest. At the very end of a clip nothing is on screen any more: it covers a window
        when it lasts longer than from the window's first frame to its last.
        """
        covered = [bucket for bucket in self.buckets if duration_s > self.window_s(bucket)]
        aspect = math.log(width / height)
        return min(
            covered,
            key=lambda bucket: (abs(math.log(bucket.width / bucket.height) - aspect), -bucket.frames, bucket),
            default=None,
        )
