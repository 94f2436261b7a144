"""What a model does with a face, read out of runs: each expert's weight by block and time, the dictionary by pose.

Belongs here: the numbers behind the gate heat maps and behind FaithfulFaces' figure 7. Not here: recording a forward
(`face_branch.gate_trace`), drawing (the command line does).
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.encoding.face_processor import FaceChoice
from model.face_branch.gate_trace import record_gates
from model.release.pipeline import LafidPipeline


class InspectionError(ValueError):
    """The model lacks the part that was asked about; the message names it."""


@dataclass(frozen=True, eq=False)
class GateWeights:
    """The gates of one transformer over one run.

    Attributes:
        timesteps: (S,) 1000 sigma of every step, in the order of drawing.
        weights: (S, blocks, 3), experts in the order of `experts.EXPERTS`; rows sum to 1. A network with one gate (MoFE) says
            the same in every block.
    """

    timesteps: NDArray[np.float32]
    weights: NDArray[np.float32]

    @property
    def by_layer(self) -> NDArray[np.float32]:
        """(blocks, 3): the mean over the steps."""
        return self.weights.mean(axis=0)


@dataclass(frozen=True, eq=False)
class Activations:
    """The aligner's dictionary under some faces.

    Attributes:
        angles_deg: (N, 3) yaw, pitch, roll.
        weights: (N, dictionary); rows sum to 1.
    """

    angles_deg: NDArray[np.float32]
    weights: NDArray[np.float32]

    def sorted_by_yaw(self) -> "Activations":
        """The same, from the face turned farthest to the image's right to the farthest to its left."""
        order = np.argsort(self.angles_deg[:, 0], kind="stable")
        return Activations(self.angles_deg[order], self.weights[order])


def gate_weights(pipeline: LafidPipeline, image: Image.Image | None, prompt: str, **request: Any) -> list[GateWeights]:
    """Draws a video and notes what the gates say of its face; one entry for each of the base's transformers that drew.

    Args:
        pipeline: the model.
        image, prompt, request: as for `LafidPipeline.generate`; guidance is left out, so that every forward is of the face.
    """
    with ExitStack() as recorders:
        recordings = [recorders.enter_context(record_gates(fusion, part)) for part, fusion in pipeline.model.attached]
        pipeline.generate(image, prompt, guidance=1.0, face_guidance=1.0, **request)
    return [
        GateWeights(
            timesteps=np.array([reading.timestep for reading in readings], np.float32),
            weights=np.stack([reading.weights[0].numpy() for reading in readings]),
        )
        for readings in recordings
        if readings
    ]


@torch.no_grad()
def dictionary_activations(pipeline: LafidPipeline, photos: Sequence[Image.Image], choose: FaceChoice = "only") -> Activations:
    """Which elements the faces of some photos wake, each in its own pose.

    Raises:
        InspectionError: the model has no aligner.
        FaceError: a photo does not hold the face that was asked for.
    """
    faces = [pipeline.face(photo, choose) for photo in photos]
    semantic = torch.cat([pipeline.encoders.semantic(face.crop) for face in faces])
    return _activations(pipeline, semantic, np.array([face.angles for face in faces], np.float32))


@torch.no_grad()
def pose_sweep(
    pipeline: LafidPipeline, photo: Image.Image, yaws_deg: Sequence[float], choose: FaceChoice = "only"
) -> Activations:
    """Which elements one photo's tokens wake when they are said to be seen at these yaws, its own pitch and roll kept."""
    face = pipeline.face(photo, choose)
    semantic = pipeline.encoders.semantic(face.crop)
    _, pitch_deg, roll_deg = face.angles or (0.0, 0.0, 0.0)
    angles = np.array([(yaw, pitch_deg, roll_deg) for yaw in yaws_deg], np.float32)
    return _activations(pipeline, semantic.expand(len(angles), -1, -1), angles)


def _activations(pipeline: LafidPipeline, semantic: torch.Tensor, angles_deg: NDArray[np.float32]) -> Activations:
    fusion = pipeline.model.fusion
    aligner = fusion.pose_aligner
    if aligner is None:
        raise InspectionError("this model has no pose-shared aligner: train a preset whose fusion.aligner is set")
    placed = semantic.to(fusion.device, fusion.dtype)
    weights = aligner.activations(placed, torch.from_numpy(angles_deg).to(fusion.device))
    return Activations(angles_deg=angles_deg, weights=weights.float().cpu().numpy())
