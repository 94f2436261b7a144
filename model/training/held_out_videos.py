"""Videos of held-out persons, drawn alike wherever models are compared: as they train, and when they are measured.

Belongs here: what such a video is, drawing it with a model that is being trained, and which of its frames are measured. Not
here: which persons, what is measured (`model.likeness`), and whoever looks at the videos.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from model.bases.base import Transformer
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.face_branch.trainable import FusedModel
from model.face_engine.interface import FaceEngine
from model.likeness import MeasuredVideo, measure_video
from model.presets import TrainConfig
from model.release.checkpoint import Manifest
from model.release.pipeline import LafidPipeline
from model.training.execution import autocast

SAMPLING_STEPS = 8
"""Few, so that many models can be compared."""


def draw_held_out(
    pipeline: LafidPipeline,
    first_frame: NDArray[np.uint8],
    caption: str,
    on_step: Callable[[int, int], None] | None = None,
) -> NDArray[np.uint8]:
    """One video at the size and length of training, always of the same noise.

    Args:
        first_frame: (H, W, 3) of a clip; a base that cannot begin with it takes it as a photo of the person.
        caption: of the clip.
        on_step: hears how many denoising steps are done, and of how many.

    Returns:
        (T, height, width, 3).

    Raises:
        FaceError: the first frame shows no face.
    """
    picture, size = Image.fromarray(first_frame), pipeline.manifest.preset.clip
    begins_with_it = pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS
    return pipeline.generate(
        picture if begins_with_it else None,
        caption,
        photos=() if begins_with_it else (picture,),
        num_frames=size.frames,
        height=size.height,
        width=size.width,
        steps=SAMPLING_STEPS,
        choose="largest",
        on_step=on_step,
    )


def measure_held_out(
    pipeline: LafidPipeline, frames: NDArray[np.uint8], first_frame: NDArray[np.uint8], reference: NDArray[np.float32]
) -> MeasuredVideo:
    """The faces of such a video; a first frame that was given, not drawn, is left out.

    Args:
        frames: (T, height, width, 3), as `draw_held_out` gives them.
        first_frame: what they were drawn from.
        reference: (E,) embedding of the person, by the pipeline's engine.
    """
    drawn = frames[1:] if pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS else frames
    return measure_video(drawn, reference, first_frame, pipeline.engine)


@contextmanager
def live_pipeline(
    model: FusedModel, manifest: Manifest, engine: FaceEngine, semantic_dir: Path | None = None
) -> Iterator[LafidPipeline]:
    """What users draw with, over a model in the middle of its training; when it closes, the model is as it was.

    Encoders and VAE come to the model's device meanwhile. Blocks run uncompiled: a video has other shapes than a batch, and each
    would be compiled anew. Transformers compute in the precision of training, everything else as users have it.

    Args:
        model: in evaluation mode, whole on this process.
        manifest: of a checkpoint of it.
        engine: the face engine of the clips that it is trained on.
        semantic_dir: as for `pipeline.load`.
    """
    base = model.base
    with ExitStack() as afterwards:
        afterwards.enter_context(torch.compiler.set_stance("force_eager"))
        for part in (base.codec, base.text_encoder, base.image_encoder):
            if part is not None:
                afterwards.callback(part.to, part.device)
                part.to(model.device)
        for transformer in base.transformers:
            afterwards.enter_context(_precision_of_training(transformer, manifest.preset.train))
        yield LafidPipeline(model, manifest, engine, semantic_dir=semantic_dir, device=model.device)


@contextmanager
def _precision_of_training(transformer: Transformer, config: TrainConfig) -> Iterator[None]:
    compute = transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with autocast(config, transformer.device):
            return compute(*args, **kwargs)

    transformer.forward = forward
    try:
        yield
    finally:
        del transformer.forward
