"""6DRepNet (Hempel et al. 2022): head pose as a rotation matrix, from RepVGG-B1g2 at 224 px.

Belongs here: its crop and running the exported network. Not here: exporting it (`sixdrepnet_export`), angles (`rotations`).
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from model.face_engine.crops import clipped_crop
from model.face_engine.interface import Box, Image
from model.face_engine.onnx_session import crop_batch, open_session, provider
from model.model_store.registry import Kind
from model.model_store.store import InstalledModel

CODE_VERSION = 1
"""Raised when the same weights would give other rotations."""

SIDE_PX = 224
BOX_SCALE = 1.5
"""The crop over the box, each side about its centre; the crop ends at the image."""
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


class SixDRepNet:
    """Head pose by 6DRepNet. The session opens at first use; one instance serves one thread."""

    def __init__(self, model: InstalledModel) -> None:
        ((self._path, self._file),) = model.networks(Kind.SIXDREPNET)
        self.name = model.entry.name
        self.licence = str(model.entry.licence)

    @cached_property
    def fingerprint(self) -> str:
        """Hash over weights, code version and crop settings."""
        facts = f"6drepnet/{CODE_VERSION}/{SIDE_PX}/{BOX_SCALE}/{provider()}/{self._file.sha256}"
        return hashlib.sha256(facts.encode()).hexdigest()

    def rotations(self, images_rgb: Sequence[Image], boxes: Sequence[Box]) -> list[NDArray[np.float32] | None]:
        """A rotation for each (image, box) pair (`HeadPose.rotations`); None where the box lies outside the image."""
        crops = [face_crop(image, box) for image, box in zip(images_rgb, boxes, strict=True)]
        inputs = [(index, network_input(crop)) for index, crop in enumerate(crops) if crop is not None]
        rotations: list[NDArray[np.float32] | None] = [None] * len(crops)
        for start in range(0, len(inputs), crop_batch()):
            indices, batch = zip(*inputs[start : start + crop_batch()], strict=True)
            for index, rotation in zip(indices, self._run(np.stack(batch)), strict=True):
                rotations[index] = rotation
        return rotations

    def _run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 3, 3) of (N, 3, 224, 224)."""
        return self._session.run(None, {self._session.get_inputs()[0].name: batch})[0]

    @cached_property
    def _session(self) -> Any:
        return open_session(self._path)


def face_crop(image_rgb: Image, box: Box) -> Image | None:
    """What the network sees of a frame: the box enlarged 1.5 times, cut off at the image's border; None outside it."""
    return clipped_crop(image_rgb, box, BOX_SCALE)


def network_input(crop_rgb: Image) -> NDArray[np.float32]:
    """(3, 224, 224) of a crop, as `SixDRepNet_Detector.predict` prepares it: the shorter side to 224 px, its middle, ImageNet
    statistics."""
    height, width = crop_rgb.shape[:2]
    scaled = (SIDE_PX, SIDE_PX * height // width) if width <= height else (SIDE_PX * width // height, SIDE_PX)
    resized = np.asarray(PilImage.fromarray(crop_rgb).resize(scaled, PilImage.Resampling.BILINEAR))
    top, left = round((scaled[1] - SIDE_PX) / 2), round((scaled[0] - SIDE_PX) / 2)
    middle = resized[top : top + SIDE_PX, left : left + SIDE_PX].astype(np.float32) / 255
    return np.ascontiguousarray(((middle - _MEAN) / _STD).transpose(2, 0, 1))
