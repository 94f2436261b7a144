"""What a checkpoint's folder proves of itself: every number is finite, and fresh processes draw the same from it.

Belongs here: reading the weights, and the child processes that draw a small case. Not here: what follows (`demands`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from lafid_assets.workers.child import leave_no_semaphore
from lafid_assets.workers.exit_reasons import fault_of
from lafid_assets.workers.pool import ChildLimits, Children, Done, map_isolated
from model.face_engine.interface import Box, EngineInfo, Face, Image
from model.release.drawing_settings import DrawingSettings

PROCESSES = 2
_PROMPT = "The video features a person who turns their head."
_SIDE_PX = 64
"""Least side of a proof: the smallest from here on that the base draws is taken."""


def broken_weights(folder: Path, checkpoint_sha256: str) -> str | None:
    """What of a checkpoint is not finite, missing, or other than training recorded; None: nothing."""
    import torch
    from safetensors import SafetensorError, safe_open

    from model.files import sha256_folder

    files = sorted(folder.rglob("*.safetensors"))
    if not files:
        return f"{folder} holds no safetensors file"
    for path in files:
        try:
            with safe_open(path, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no mapping
                    tensor = tensors.get_tensor(name)
                    exact = not tensor.is_floating_point() or tensor.element_size() > 1
                    if not torch.isfinite(tensor if exact else tensor.float()).all():
                        return f"tensor {name} of {path.relative_to(folder)} is not finite"
        except (SafetensorError, OSError) as error:
            return f"{path.relative_to(folder)} cannot be read: {error}"
    if (found := sha256_folder(folder)) != checkpoint_sha256:
        return f"{folder} is not what was trained: sha256 {found[:12]}, recorded {checkpoint_sha256[:12]}"
    return None


@dataclass(frozen=True)
class Redrawing:
    """What is drawn again, and how."""

    checkpoint_dir: Path
    base_dir: Path
    drawing: DrawingSettings


class CannotDraw(RuntimeError):
    """A fresh process could not load the checkpoint or draw with it; the message says why."""


def frames_of_fresh_processes(task: Redrawing, deadline_s: float) -> list[str]:
    """The sha256 of the frames that each of two processes draws, one after the other.

    Raises:
        CannotDraw: one of them could not.
    """
    drawn = []
    one_by_one = Children(1, limits=ChildLimits(recycle_tasks=1))
    for _, ending in map_isolated(frames_sha256, [task] * PROCESSES, lambda _: deadline_s, one_by_one):
        if not isinstance(ending, Done):
            raise CannotDraw(fault_of(ending).detail)
        drawn.append(ending.value)
    return drawn


def frames_sha256(task: Redrawing) -> str:
    """Hash of a small video of a made-up person, without a face engine: the question is whether the weights draw the same."""
    import hashlib
    import math

    import torch
    from PIL import Image as PilImage

    from model.bases.specs import FIRST_FRAME_LAYOUTS
    from model.release.checkpoint import read_manifest
    from model.release.pipeline import load

    leave_no_semaphore()
    torch.use_deterministic_algorithms(True, warn_only=True)
    manifest = read_manifest(task.checkpoint_dir)
    engine = _OneFace(EngineInfo(manifest.face_engine.name, "", manifest.face_engine.width, "none", ""))
    pipeline = load(task.checkpoint_dir, task.base_dir, task.drawing, engine)
    base = pipeline.model.base
    side = base.size_multiple_px * math.ceil(_SIDE_PX / base.size_multiple_px)
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    picture = PilImage.fromarray(np.stack(np.broadcast_arrays(ramp[None], ramp[:, None], np.uint8(128)), axis=-1))
    begins = base.info.layout in FIRST_FRAME_LAYOUTS
    frames = pipeline.generate(
        picture if begins else None,
        _PROMPT,
        photos=() if begins else (picture,),
        num_frames=base.codec.config.scale_factor_temporal + 1,
        height=side,
        width=side,
        steps=1,
        guidance=1.0,
    )
    return hashlib.sha256(frames.tobytes()).hexdigest()


class _OneFace:
    """Finds the same face in the middle of any picture."""

    def __init__(self, info: EngineInfo) -> None:
        self.info = info

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        height, width = image_rgb.shape[:2]
        box = (width / 4, height / 4, width * 3 / 4, height * 3 / 4)
        embedding = np.linspace(-1, 1, self.info.embedding_dim, dtype=np.float32)
        unit = embedding / np.linalg.norm(embedding)
        return [Face(box, None, np.zeros((0, 2), np.float32), np.eye(3, dtype=np.float32), unit, None)]

    def detect_many(self, images_rgb: Sequence[Image], *, embed: bool = True) -> list[list[Face]]:
        return [self.detect(image, embed=embed) for image in images_rgb]

    def glance(self, image_rgb: Image, *, side_px: int) -> NoReturn:
        raise NotImplementedError

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> NoReturn:
        raise NotImplementedError
