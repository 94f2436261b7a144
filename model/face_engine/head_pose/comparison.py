"""Two head pose models on the same faces: do they agree, and do they mean the same by their signs?

Belongs here: the comparison and its figures. Not here: finding clips, what the terminal shows (`lafid_assets.cli.models`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.face_engine.interface import Box, HeadPose, Image
from model.face_engine.rotations import Angles, stacked_angles

MIN_FACES = 20
MIN_CORRELATION = 0.5
"""With a lower correlation, or fewer faces, nothing is said about a sign."""


@dataclass(frozen=True)
class AngleAgreement:
    """Two models on one angle, over the same faces.

    Attributes:
        correlation: Pearson's; None where an angle does not vary.
        mean_absolute_deg: mean absolute difference.
        signs: "agree", "opposite", or "undecided" (too few faces, or too little in common).
    """

    angle: str
    correlation: float | None
    mean_absolute_deg: float
    signs: str


@dataclass(frozen=True)
class Comparison:
    """What two models say of the same faces."""

    faces: int
    angles: tuple[AngleAgreement, ...]

    @property
    def verdict(self) -> str:
        """One sentence."""
        signs = {agreement.signs for agreement in self.angles}
        if signs == {"agree"}:
            return f"all three signs agree on {self.faces} faces"
        told = ", ".join(f"{agreement.angle} {agreement.signs}" for agreement in self.angles)
        return f"signs on {self.faces} faces: {told}"


def compare(first: HeadPose, second: HeadPose, faces: Iterable[tuple[Image, Sequence[Box]]]) -> Comparison:
    """Both models on every box of every image; a face counts where both give a rotation.

    Raises:
        ValueError: there is no face.
    """
    pairs: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    for image, boxes in faces:
        images = [image] * len(boxes)
        both = zip(first.rotations(images, boxes), second.rotations(images, boxes), strict=True)
        pairs += [(a, b) for a, b in both if a is not None and b is not None]
    if not pairs:
        raise ValueError("no face was found: give a folder of clips or images that show faces")
    by_first, by_second = (stacked_angles(np.stack(rotations)) for rotations in zip(*pairs, strict=True))
    agreements = [
        _agreement(name.removesuffix("_deg"), by_first[:, column], by_second[:, column])
        for column, name in enumerate(Angles._fields)
    ]
    return Comparison(len(pairs), tuple(agreements))


def _agreement(angle: str, first: NDArray[np.float64], second: NDArray[np.float64]) -> AngleAgreement:
    varies = len(first) > 1 and first.std() > 1e-6 and second.std() > 1e-6
    correlation = float(np.corrcoef(first, second)[0, 1]) if varies else None
    signs = "undecided"
    if correlation is not None and len(first) >= MIN_FACES and abs(correlation) >= MIN_CORRELATION:
        signs = "agree" if correlation > 0 else "opposite"
    return AngleAgreement(angle, correlation, float(np.abs(first - second).mean()), signs)
