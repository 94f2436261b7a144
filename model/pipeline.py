"""A trained model as one object: a picture and a prompt in, frames out, drawn by diffusers' own pipeline.

Belongs here: loading a checkpoint onto its base, and one generation. Not here: training, files of video (`video_io`), the
registry (`package`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.base import load_base
from model.checkpoint import CheckpointError, Manifest, load_checkpoint, read_manifest
from model.encoders import ClipEncoders
from model.face_engine.interface import FaceEngine
from model.face_processor import FaceChoice, process_face
from model.guidance import FaceGuidance
from model.sizes import check_size, size_for_image
from model.trainable import FusedModel

_STEPS = 20
_GUIDANCE = 3.0
_log = logging.getLogger(__name__)


class LafidPipeline:
    """Image to video with a face. One generation at a time."""

    def __init__(self, model: FusedModel, manifest: Manifest, engine: FaceEngine) -> None:
        self.model = model
        self.manifest = manifest
        self.engine = engine
        self._encoders = ClipEncoders(model.base)

    @property
    def fps(self) -> float:
        """The rate that the model was trained at."""
        return self.manifest.preset.clip.fps

    def generate(
        self,
        image: Image.Image,
        prompt: str,
        *,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        steps: int = _STEPS,
        guidance: float = _GUIDANCE,
        face_guidance: float = 1.0,
        seed: int = 0,
        choose: FaceChoice | None = "only",
        progress: bool = False,
    ) -> NDArray[np.uint8]:
        """Draws a video that begins with `image` and keeps its face. The same arguments give the same frames.

        Args:
            image: the first frame, and the reference from which the face is taken.
            prompt: what happens.
            num_frames: as trained, unless given.
            height, width: pixels; unless given, the trained area in the picture's own aspect. The picture is scaled to it.
            steps: denoising steps.
            guidance: how strongly the text counts; 1 switches it off and halves the time.
            face_guidance: how strongly the face counts; 1 is as trained, anything else costs a third pass a step.
            seed: of the noise.
            choose: which face; None draws without the face branch.
            progress: show a bar.

        Returns:
            (T, height, width, 3) uint8 RGB.

        Raises:
            SizeError: a size the base cannot draw.
            FaceError: the picture does not hold the face that was asked for.
        """
        base, clip = self.model.base, self.manifest.preset.clip
        frames = num_frames or clip.frames
        picture = image.convert("RGB")
        if height is None or width is None:
            height, width = size_for_image(picture.height, picture.width, clip.height * clip.width, base.size_multiple_px)
        temporal = base.codec.config.scale_factor_temporal
        check_size(
            height,
            width,
            frames,
            multiple_px=base.size_multiple_px,
            temporal_factor=temporal,
            positions=base.transformer.config.rope_max_seq_len,
        )
        if cut := self._encoders.unread(prompt):
            _log.warning("the prompt is longer than the text encoder takes; it does not see its end: %r", cut)
        pipeline = base.image_to_video(self._denoiser(picture, choose, face_guidance))
        pipeline.set_progress_bar_config(disable=not progress)
        # At a temporal factor of 1 the stock rounding (frames // factor * factor + 1) adds a frame.
        asked = frames if temporal > 1 else frames - 1
        with _without_rounding_warning():
            video = pipeline(
                image=picture.resize((width, height), Image.Resampling.BICUBIC),
                prompt=prompt,
                height=height,
                width=width,
                num_frames=asked,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=torch.Generator().manual_seed(seed),
                output_type="np",
            ).frames[0]
        return (video * 255).round().astype(np.uint8)

    @torch.no_grad()
    def _denoiser(self, picture: Image.Image, choose: FaceChoice | None, face_guidance: float) -> torch.nn.Module:
        transformer, fusion = self.model.base.transformer, self.model.fusion
        if choose is None:
            return transformer
        reference = process_face(np.asarray(picture), self.engine, choose)
        face = fusion(self._encoders.face(reference.crop, reference.embedding))
        return FaceGuidance(transformer, face, fusion.null(), face_guidance)


def load(checkpoint_dir: Path, base_dir: Path, device: str | None = None, face_engine: FaceEngine | None = None) -> LafidPipeline:
    """A checkpoint on its base, ready to draw, on the GPU where there is one.

    Args:
        checkpoint_dir: as `train` or the registry gives it.
        base_dir: the base it was trained on.
        device: "cpu", "cuda", ...; chosen unless given.
        face_engine: unless given, the one whose embeddings the checkpoint was trained on.

    Raises:
        CheckpointError: a part or the base does not fit, or the engine gives other embeddings than trained on.
    """
    manifest = read_manifest(checkpoint_dir)
    engine = face_engine or _engine_by_name(manifest.face_engine.name)
    trained_on = manifest.face_engine
    if (engine.info.name, engine.info.embedding_dim) != (trained_on.name, trained_on.width):
        raise CheckpointError(
            f"{checkpoint_dir} was trained on {trained_on.name}'s identity embeddings ({trained_on.width} wide), "
            f"{engine.info.name} gives others ({engine.info.embedding_dim} wide): use {trained_on.name}"
        )
    return LafidPipeline(load_checkpoint(checkpoint_dir, load_base(base_dir, device)), manifest, engine)


def _engine_by_name(name: str) -> FaceEngine:
    if name != "dlib":
        raise CheckpointError(f"no face engine here is named {name!r}: pass the one that the checkpoint was trained with")
    # Loads dlib's 120 MB of weights: only where faces are really looked for.
    from model.face_engine.dlib_engine import DlibEngine

    return DlibEngine()


@contextmanager
def _without_rounding_warning() -> Iterator[None]:
    """Sizes are checked before; diffusers still warns of rounding to where it already is."""

    def unrelated(record: logging.LogRecord) -> bool:
        return "`num_frames - 1` has to be divisible" not in record.getMessage()

    logger = logging.getLogger("diffusers.pipelines.wan.pipeline_wan_i2v")
    logger.addFilter(unrelated)
    try:
        yield
    finally:
        logger.removeFilter(unrelated)
