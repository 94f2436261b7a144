"""`lafid generate`: pull a registered model and make a video. Needs no Dagster.

Belongs here: reading the pictures, pulling, writing the mp4, and their errors; `inspect` shares the first two. Not here: the
drawing (`model.release.pipeline`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.training.base import FOLDER
from model.release.drawing_settings import DrawingSettings
from resources.file_store import FileStore
from resources.settings import Settings
from resources.tracking import Tracking

if TYPE_CHECKING:
    from model.encoding.face_processor import FaceChoice
    from model.release.pipeline import LafidPipeline

LOGGER = logging.getLogger("lafid.generate")


class ModelUnknown(LookupError):
    """The registry has no such model; the message names both and the remedy."""


class NobodyToDraw(ValueError):
    """Neither a first frame nor a photo was given."""


@dataclass(frozen=True)
class VideoRequest:
    """What is to be drawn; what is None is as the model was trained."""

    prompt: str
    image: Path | None
    photos: tuple[Path, ...] = ()
    negative_prompt: str | None = None
    frames: int | None = None
    height: int | None = None
    width: int | None = None
    steps: int = 20
    guidance: float = 3.0
    face_guidance: float = 1.0
    seed: int = 0
    face: str = "only"


def run_generate(
    settings: Settings, model: str, request: VideoRequest, out: Path, drawing: DrawingSettings, base_dir: Path | None
) -> None:
    """Pull, generate, write an mp4.

    Args:
        base_dir: the base's folder, where it neither travels with the model nor was adopted into the store.

    Raises:
        NobodyToDraw: the request holds no picture.
        PictureUnusable: one of its pictures cannot be read.
        ModelUnknown: no such model in the registry, or no registry.
        FaceError: no face in a picture, or several.
    """
    if request.image is None and not request.photos:
        raise NobodyToDraw("there is nobody to draw: name a first frame with --image, or photos of the person with --photo")
    from model.encoding.picture import read_picture

    picture = None if request.image is None else read_picture(request.image)
    photos = [read_picture(path) for path in request.photos]
    pipeline = pull_model(settings, model, drawing, base_dir)
    from model.encoding.video_io import write_mp4

    with working(f"generating {out.name}"):
        video = pipeline.generate(
            picture,
            request.prompt,
            photos=photos,
            negative_prompt=request.negative_prompt,
            num_frames=request.frames,
            height=request.height,
            width=request.width,
            steps=request.steps,
            guidance=request.guidance,
            face_guidance=request.face_guidance,
            seed=request.seed,
            choose=face_choice(request.face),
            on_step=lambda done, steps: LOGGER.info("step %d of %d", done, steps),
        )
        write_mp4(out, video, fps=pipeline.fps)
    CONSOLE.print(f"{out}: {len(video)} frames of {video.shape[2]}x{video.shape[1]}", soft_wrap=True, markup=False)


def face_choice(text: str) -> "FaceChoice":
    """ "only", "largest" or a number from 0.

    Raises:
        ValueError: none of these.
    """
    if text == "only":
        return "only"
    if text == "largest":
        return "largest"
    if text.isdecimal():
        return int(text)
    raise ValueError(f'{text!r} names no face: say "only", "largest", or a number from 0 (the largest)')


def pull_model(settings: Settings, model: str, drawing: DrawingSettings, base_dir: Path | None) -> "LafidPipeline":
    """The model of that name, ready to draw.

    Raises:
        ModelUnknown: no such model in the registry, or no registry.
    """
    store = FileStore(settings.store_uri)
    with working(f"pulling {model}"), in_registry(settings, model):
        from model.release.package import pull

        return pull(model, drawing, base_dir=base_dir, bases_dir=store.local_path(FOLDER) if store.is_local else None)


@contextmanager
def in_registry(settings: Settings, model: str) -> Iterator[None]:
    """Where `model.release.package` finds a model of that name; of a checkpoint's folder no registry is asked.

    Raises:
        ModelUnknown: the block did not find it, or there is no registry.
    """
    if not model.startswith("models:"):
        yield
        return
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    if not tracking.is_there:
        raise ModelUnknown(f"cannot pull {model}: there is no registry at {tracking.uri} yet, `lafid demo` makes one")
    tracking.connect()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ModelUnknown(
            f"cannot pull {model} from {tracking.uri} ({error.message}): name another with --model, or run `lafid demo`"
        ) from error
