"""Videos of held-out persons, drawn alike wherever models are compared: as they train, and when they are measured.

Belongs here: what such a video is, drawing it with a model that is being trained, and which of its frames are measured. Not
here: which persons, what is measured (`model.likeness`), and whoever looks at the videos.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from accelerate.hooks import remove_hook_from_module
from numpy.typing import NDArray
from PIL import Image

from model.bases.base import Transformer
from model.bases.specs import FIRST_FRAME_LAYOUTS
from model.clip_size import Bucket
from model.encoding.video_io import fit_frames
from model.face_branch.trainable import FusedModel
from model.face_engine.interface import FaceEngine
from model.likeness import MeasuredVideo, measure_video
from model.presets import TrainConfig
from model.release.checkpoint import Manifest
from model.release.drawing_settings import AS_TRAINED, DrawingSettings
from model.release.pipeline import LafidPipeline
from model.training.execution import autocast

SAMPLING_STEPS = 8
"""Few, so that many models can be compared."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a video of a held-out person begins with.

    Attributes:
        whole: (H, W, 3), the first frame of a clip's window: the photo of the person, as a user has one.
        cut: (height, width, 3), the same as training sees it: cut and scaled to the clip's own size.
        frames: as many as training sees of the clip.
    """

    whole: NDArray[np.uint8]
    cut: NDArray[np.uint8]
    frames: int

    @classmethod
    def of(cls, whole: NDArray[np.uint8], bucket: Bucket, centre_xy_px: tuple[float, float]) -> Self:
        """A held-out clip that was placed into `bucket`, cut around `centre_xy_px`."""
        return cls(whole, fit_frames(whole[None], bucket.height, bucket.width, centre_xy_px)[0], bucket.frames)


def draw_held_out(
    pipeline: LafidPipeline,
    beginning: Beginning,
    caption: str,
    on_step: Callable[[int, int], None] | None = None,
    *,
    photos: Sequence[NDArray[np.uint8]] = (),
    seed: int = 0,
    steps: int = SAMPLING_STEPS,
) -> NDArray[np.uint8]:
    """One video at the size and length of the clip in training, of the same noise for the same seed.

    Args:
        beginning: the face is that of the whole frame. A base that takes no first frame draws its own.
        caption: of the clip.
        on_step: hears how many denoising steps are done, and of how many.
        photos: (H, W, 3) each, of the person, beside the whole frame.
        seed: of the noise.
        steps: of denoising.

    Returns:
        (T, height, width, 3).

    Raises:
        FaceError: the first frame shows no face.
    """
    begins_with_it = pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS
    height, width = beginning.cut.shape[:2]
    return pipeline.generate(
        Image.fromarray(beginning.cut) if begins_with_it else None,
        caption,
        photos=[Image.fromarray(photo) for photo in (beginning.whole, *photos)],
        num_frames=beginning.frames,
        height=height,
        width=width,
        steps=steps,
        seed=seed,
        choose="largest",
        on_step=on_step,
    )


def measure_held_out(
    pipeline: LafidPipeline, frames: NDArray[np.uint8], beginning: Beginning, reference: NDArray[np.float32]
) -> MeasuredVideo:
    """The faces of such a video; a first frame that was given, not drawn, is left out.

    Args:
        frames: (T, height, width, 3), as `draw_held_out` gives them.
        beginning: what they were drawn from.
        reference: (E,) embedding of the person, by the pipeline's engine.
    """
    drawn = frames[1:] if pipeline.manifest.base.layout in FIRST_FRAME_LAYOUTS else frames
    return measure_video(drawn, reference, beginning.whole, pipeline.engine)


@contextmanager
def live_pipeline(
    model: FusedModel, manifest: Manifest, engine: FaceEngine, drawing: DrawingSettings = AS_TRAINED
) -> Iterator[LafidPipeline]:
    """What users draw with, over a model in the middle of its training; when it closes, the model is as it was.

    Encoders and VAE come to the model's device meanwhile, or with `low_memory` take turns there with the transformers. Blocks run
    uncompiled: a video has other shapes than a batch, and each would be compiled anew. Transformers compute in the precision of
    training unless `drawing` names one, everything else as users have it.

    Args:
        model: in evaluation mode, whole on this process.
        manifest: of a checkpoint of it.
        engine: the face engine of the clips that it is trained on.
        drawing: as for `pipeline.load`, but for the device, which is the model's.
    """
    base, device = model.base, model.device
    networks = (base.codec, base.text_encoder, base.image_encoder)
    with ExitStack() as afterwards:
        afterwards.enter_context(torch.compiler.set_stance("force_eager"))
        for part in (*networks, *(base.transformers if drawing.low_memory else ())):
            if part is not None:
                afterwards.callback(_bring_back, part, part.device)
        for part in networks:
            if part is not None and not drawing.low_memory:
                part.to(device)
        train = manifest.preset.train
        computed = train.model_copy(update={"precision": drawing.precision_after(train)})
        for transformer in base.transformers:
            afterwards.enter_context(_computing_as(computed, transformer))
        yield LafidPipeline(model, manifest, engine, drawing.model_copy(update={"device": str(device)}))


def _bring_back(part: torch.nn.Module, device: torch.device) -> None:
    """To where it was, without the hooks that had it take turns."""
    remove_hook_from_module(part, recurse=True)
    part.to(device)


@contextmanager
def _computing_as(config: TrainConfig, transformer: Transformer) -> Iterator[None]:
    compute = transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        with autocast(config, transformer.device):
            return compute(*args, **kwargs)

    transformer.forward = forward
    try:
        yield
    finally:
        del transformer.forward
