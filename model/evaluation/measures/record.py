"""What every measure is: a name, a unit, what it needs, and a function of one drawn video.

Belongs here: the records that measures share. Not here: any measure, loading networks (`networks`), the list (`catalogue`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.evaluation.bench import Person
from model.evaluation.similarity import FrameFace
from model.face_engine.interface import Image

if TYPE_CHECKING:
    from model.evaluation.measures.networks import Networks
    from model.evaluation.measures.published_faces import AlignedFace


@dataclass(frozen=True)
class Absent:
    """A measure that has no value here."""

    reason: str


@dataclass(frozen=True, eq=False)
class PlainVideo:
    """A drawn video and whom it shall show: all that published rules look at.

    Attributes:
        frames: (T, H, W, 3), as its file gives them; a frame that the model was given is among them.
        begins_given: whether `frames[0]` is that one. Measures of ours leave it out.
        reference: (H, W, 3), the picture of the person that the model was shown, uncut.
    """

    frames: NDArray[np.uint8]
    begins_given: bool
    fps: float
    prompt: str
    reference: Image


@dataclass(frozen=True, eq=False)
class DrawnVideo(PlainVideo):
    """One video that a model drew of a case.

    Attributes:
        person: of the bench.
        faces: of the frames without the given one (`similarity.measure_frames`).
        speaking_status: of the case's caption.
        lip_borders: how far a mouth moves at most that is still, and at least that speaks, by the mouth model of the bench's
            engine; None where nobody knows.
    """

    person: Person
    faces: Sequence[FrameFace | None]
    speaking_status: str
    lip_borders: tuple[float, float] | None = None

    @property
    def drawn(self) -> NDArray[np.uint8]:
        """The frames that the model drew."""
        return self.frames[1:] if self.begins_given else self.frames


@dataclass(frozen=True, eq=False)
class PlainSight:
    """A video before the networks: what several measures look at is looked at once."""

    video: PlainVideo
    networks: "Networks"
    _aligned: "dict[int | None, AlignedFace | None]" = field(default_factory=dict)

    def aligned(self, index: int | None) -> "AlignedFace | Absent | None":
        """The main face of frame `index`, or of the reference, found and cut as ConsisID and OpenS2V do; None where they find
        none."""
        from model.evaluation.measures.published_faces import aligned_face

        if isinstance(self.networks.faces, Absent):
            return self.networks.faces
        if index not in self._aligned:
            picture = self.video.reference if index is None else self.video.frames[index]
            self._aligned[index] = aligned_face(picture, self.networks.faces)
        return self._aligned[index]


@dataclass(frozen=True, eq=False)
class Sight(PlainSight):
    """The same of a case's video."""

    video: DrawnVideo


@dataclass(frozen=True)
class Measure:
    """One measure of one video."""

    name: str
    """Of its column and metric."""
    unit: str
    higher_is_better: bool | None
    """None: neither is."""
    networks: tuple[str, ...]
    """Names in the model store; empty where it needs none."""
    rule: str
    """One sentence."""
    compute: Callable[[Sight], float | Absent]
