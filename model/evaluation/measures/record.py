"""What measures look at: one drawn video, and why one of them may have no value.

Belongs here: the records that measures share. Not here: any measure, loading networks (`networks`), the list (`catalogue`).
"""

from collections.abc import Sequence
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


class Absent(Exception):
    """A measure has no value here; the message says why."""


@dataclass(frozen=True, eq=False)
class DrawnVideo:
    """A drawn video and the person that it should show: all that published rules look at.

    Attributes:
        frames: (T, H, W, 3), as its file gives them; a frame that the model was given is among them.
        begins_given: whether `frames[0]` is that one. Our own measures leave it out.
        reference: (H, W, 3), the picture of the person that the model was shown, uncut.
    """

    frames: NDArray[np.uint8]
    begins_given: bool
    fps: float
    prompt: str
    reference: Image
    networks: "Networks"
    _aligned: "dict[int | None, AlignedFace | None]" = field(default_factory=dict, init=False)

    @property
    def drawn(self) -> NDArray[np.uint8]:
        """The frames that the model drew."""
        return self.frames[1:] if self.begins_given else self.frames

    def aligned(self, index: int | None) -> "AlignedFace | None":
        """The main face of frame `index`, or of the reference, as ConsisID and OpenS2V find and cut it; searched for once.

        Raises:
            Absent: there is no network that finds faces.
        """
        from model.evaluation.measures.published_faces import aligned_face

        if index not in self._aligned:
            picture = self.reference if index is None else self.frames[index]
            self._aligned[index] = aligned_face(picture, self.networks.faces)
        return self._aligned[index]


@dataclass(frozen=True, eq=False, kw_only=True)
class CaseVideo(DrawnVideo):
    """A video of one of a bench's cases.

    Attributes:
        faces: of the frames without the given one (`similarity.measure_frames`).
        speaking_status: of the case's caption.
        lip_borders: how far a still mouth moves at most, and a speaking one at least, by the mouth model of the bench's engine;
            None: not known.
    """

    person: Person
    faces: Sequence[FrameFace | None]
    speaking_status: str
    lip_borders: tuple[float, float] | None = None
