"""The face branch on a stock diffusers pipeline of Wan, without anything else of LaFID's.

Belongs here: joining the two, and whose face is shown. Not here: our own pipeline (`pipeline`), the folder it comes from
(`pulled_folder`), the file by which others call this (`load_face_branch`).
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from model.bases.base import Base
from model.encoding.face_processor import FaceChoice
from model.face_branch.trainable import LORA, SUFFIXES, FusedModel
from model.face_engine.interface import FaceEngine
from model.release.checkpoint import CheckpointError, Manifest, load_onto, verify_checkpoint
from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import LafidPipeline, engine_named


class FaceBranch:
    """What was trained beside the LoRA, on the transformers of a pipeline: the face branch, and weights of the base.

    Args:
        pipeline: of diffusers, on the base that the model was trained on; its LoRA is loaded before, where it has one.
        folder: as `lafid pull` writes it, or a checkpoint.
        engine: the face engine; unless given the one whose embeddings the model was trained on.
        semantic_dir: the vision encoder's folder, where the model was trained with one.

    Raises:
        CheckpointError: the folder is not whole, does not fit the base, or its LoRA was not loaded.
    """

    def __init__(
        self, pipeline: Any, folder: Path | str, engine: FaceEngine | None = None, semantic_dir: Path | str | None = None
    ) -> None:
        self.pipeline = pipeline
        manifest = verify_checkpoint(Path(folder))
        base = _base_of(pipeline, manifest)
        for suffix, transformer in zip(SUFFIXES, base.transformers, strict=False):
            lora = f"{LORA}{suffix}"
            if lora in manifest.parts and not getattr(transformer, "peft_config", None):
                raise CheckpointError(f"part {lora} of {folder} is not loaded: call load_lora_weights with it first")
        fusions = [
            load_onto(Path(folder), suffix, transformer, manifest, with_lora=False)
            for suffix, transformer in zip(SUFFIXES, base.transformers, strict=False)
        ]
        model = FusedModel(base, *fusions)
        for transformer, fusion in model.attached:
            torch.nn.Module.to(fusion, transformer.device, transformer.dtype)
        drawing = DrawingSettings(semantic_dir=None if semantic_dir is None else Path(semantic_dir))
        self._model = LafidPipeline(model, manifest, engine or engine_named(manifest.face_engine.name), drawing)

    def show(self, photos: Sequence[Image.Image], choose: FaceChoice = "only", face_guidance: float = 1.0) -> Image.Image:
        """From now on the pipeline draws this person.

        Args:
            photos: at least one.
            face_guidance: how strongly the face counts; 1 is as trained.

        Returns:
            The first face as the model sees it: what a VACE pipeline is given as its reference image.

        Raises:
            FaceError: a photo does not hold the face that was asked for.
        """
        faces = [self._model.face(photo, choose) for photo in photos]
        denoisers = self._model.denoisers(faces, face_guidance)
        for name, denoiser in zip(("transformer", "transformer_2"), denoisers, strict=False):
            setattr(self.pipeline, name, denoiser)
        return Image.fromarray(faces[0].crop)

    def hide(self) -> None:
        """The pipeline draws nobody in particular again, as before `show`."""
        for name, transformer in zip(("transformer", "transformer_2"), self._model.model.base.transformers, strict=False):
            setattr(self.pipeline, name, transformer)


def _base_of(pipeline: Any, manifest: Manifest) -> Base:
    """The pipeline's components by our names. Whether they are the very base, no hash says: diffusers keeps none."""
    second = getattr(pipeline, "transformer_2", None)
    if (second is not None) != (manifest.base.boundary is not None):
        raise CheckpointError(f"the model was trained on base {manifest.base}, whose number of transformers is another")
    return Base(
        info=manifest.base,
        digests=defaultdict(str),
        transformer=pipeline.transformer,
        transformer_2=second,
        codec=pipeline.vae,
        text_encoder=pipeline.text_encoder,
        tokenizer=pipeline.tokenizer,
        scheduler=pipeline.scheduler,
        image_encoder=getattr(pipeline, "image_encoder", None),
        image_processor=getattr(pipeline, "image_processor", None),
    )
