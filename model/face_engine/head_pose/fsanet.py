"""FSA-Net (Yang et al. 2019), the small permissive head pose: the mean of two networks of 1.2 MB each.

Belongs here: its crop and its numbers. Not here: the project's angles (`rotations`).
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from model.face_engine.crops import square_crop
from model.face_engine.interface import Box, Image
from model.face_engine.onnx_session import open_session, provider
from model.face_engine.rotations import rotation_from_angles
from model.model_store.registry import Kind
from model.model_store.store import InstalledModel

CODE_VERSION = 1
"""Raised when the same weights would give other angles."""

SIDE_PX = 64
BOX_SCALE = 1.2
"""Side of the square crop over the longer side of the box."""


class FsaNet:
    """Head pose by the mean of two FSA-Net networks. The sessions open at first use; one instance serves one thread.

    The networks were trained on boxes of another detector: beyond about 65 degrees of yaw they saturate.
    """

    def __init__(self, model: InstalledModel) -> None:
        self._networks = model.networks(Kind.FSANET)
        self.name = model.entry.name
        self.licence = str(model.entry.licence)

    @cached_property
    def fingerprint(self) -> str:
        """Hash over weights, code version and crop settings."""
        weights = [file.sha256 for _, file in self._networks]
        return hashlib.sha256(f"fsanet/{CODE_VERSION}/{SIDE_PX}/{BOX_SCALE}/{provider()}/{weights}".encode()).hexdigest()

    def rotations(self, images_rgb: Sequence[Image], boxes: Sequence[Box]) -> list[NDArray[np.float32] | None]:
        """A rotation for each (image, box) pair (`HeadPose.rotations`); None where the box has no area."""
        return [self._rotation(image, box) for image, box in zip(images_rgb, boxes, strict=True)]

    def _rotation(self, image: Image, box: Box) -> NDArray[np.float32] | None:
        crop = square_crop(image, box, BOX_SCALE)
        if crop is None:
            return None
        small = cv2.resize(crop, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)[..., ::-1]  # the networks take BGR
        blob = (small.transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128
        angles = [session.run(None, {session.get_inputs()[0].name: blob})[0][0] for session in self._sessions]
        yaw_deg, pitch_deg, roll_deg = np.mean(angles, axis=0)
        return rotation_from_angles(yaw_deg, pitch_deg, roll_deg).astype(np.float32)

    @cached_property
    def _sessions(self) -> list[Any]:
        return [open_session(path) for path, _ in self._networks]
