"""`lafid generate`: pull a registered model and make a video. Needs no Dagster."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

from lafid_assets.cli.display import CONSOLE, working
from resources.settings import Settings
from resources.tracking import Tracking


class ImageUnusable(ValueError):
    """The given image cannot be read; the message names it and the remedy."""


class ModelUnknown(LookupError):
    """The registry has no such model; the message names both and the remedy."""


def run_generate(
    settings: Settings, model: str, image: Path, prompt: str, out: Path, *, steps: int, frames: int | None, seed: int
) -> None:
    """Pull, generate, write an mp4 that begins with the image.

    Raises:
        ImageUnusable: no picture there.
        ModelUnknown: no such model in the registry, or no registry.
        FaceError: no face in it, or several.
    """
    try:
        picture = Image.open(image).convert("RGB")
    except (OSError, UnidentifiedImageError) as error:
        raise ImageUnusable(f"cannot read the image {image}: name a PNG or JPEG file with a face") from error
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    if not tracking.is_there:
        raise ModelUnknown(f"cannot pull {model}: there is no registry at {tracking.uri} yet, `lafid demo` makes one")
    with working(f"pulling {model}"):
        tracking.connect()
        from mlflow.exceptions import MlflowException

        from model.package import pull
        from model.video_io import write_mp4

        try:
            pipeline = pull(model)
        except MlflowException as error:
            raise ModelUnknown(
                f"cannot pull {model} from {tracking.uri} ({error.message}): name another with --model, or run `lafid demo`"
            ) from error
    with working(f"generating {out.name}"):
        video = pipeline.generate(
            picture, prompt, num_frames=frames or pipeline.manifest.preset.clip.frames, steps=steps, seed=seed
        )
        write_mp4(out, video, fps=pipeline.fps)
    CONSOLE.print(f"{out}: {len(video)} frames of {video.shape[2]}x{video.shape[1]}", soft_wrap=True, markup=False)
