"""`lafid generate`: pull a registered model and make a video. Needs no Dagster.

Belongs here: reading the pictures, pulling, writing the mp4, and their errors; `inspect` shares the first two. Not here: the
drawing (`model.release.pipeline`).
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.options import ModelOptions
from lafid_assets.cli.prompts import Prompt, drawn_before, mark_of, read_prompts, request_hash
from lafid_assets.release.model_files import in_registry
from lafid_assets.training.base import adopted_in
from model.release.drawing_settings import DrawingSettings
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.tracking import Tracking

if TYPE_CHECKING:
    from PIL.Image import Image

    from model.encoding.face_processor import FaceChoice
    from model.release.checkpoint import Manifest
    from model.release.pipeline import LafidPipeline

LOGGER = logging.getLogger("lafid.generate")


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

    def as_told(self, line: Prompt) -> "VideoRequest":
        """The same with what a line of a file says otherwise."""
        said = {name: value for name, value in line if value is not None and name != "name"}
        return replace(self, **said)

    def hash_with(self, manifest: "Manifest", drawing: DrawingSettings) -> str:
        """Hash of the request to this model, with how it computes."""
        values = {name: value for name, value in asdict(self).items() if name not in ("image", "photos")}
        pictures = [*([] if self.image is None else [self.image]), *self.photos]
        computed = {"precision": drawing.precision_after(manifest.preset.train), "low_memory": drawing.low_memory}
        with_picture = {"has_first_frame": self.image is not None}
        return request_hash(values | with_picture, pictures, manifest.model_dump(mode="json") | computed)


def run_generate(how: ModelOptions, model: str, request: VideoRequest, out: Path, prompts: Path | None = None) -> None:
    """Pull, generate, write an mp4. A video that was drawn for the very same request is left as it is.

    Args:
        out: the mp4; with `prompts` the folder of many.
        prompts: a file of them, each drawn as `request` says.
    """
    if request.image is None and not request.photos:
        raise ValueError("there is nobody to draw: name a first frame with --image, or photos of the person with --photo")
    from model.encoding.picture import read_picture

    _require_writable(out, many=prompts is not None)
    wanted = (
        {out: request} if prompts is None else {out / name: request.as_told(line) for name, line in read_prompts(prompts).items()}
    )
    choose = face_choice(request.face)
    picture = None if request.image is None else read_picture(request.image)
    photos = [read_picture(path) for path in request.photos]
    wanted = not_drawn_yet(how, model, wanted)
    if not wanted:
        return
    pipeline = pull_model(how, model)
    if len(photos) > 1:
        _tell_what_helps(pipeline, photos, choose)
    for path, one in wanted.items():
        draw(pipeline, path, one, picture, photos, how.drawing)


def draw(
    pipeline: "LafidPipeline",
    path: Path,
    request: VideoRequest,
    picture: "Image | None",
    photos: "Sequence[Image]",
    drawing: DrawingSettings,
) -> None:
    """One video, written whole, and said. `picture`, `photos`: the request's own, read."""
    from model.encoding.video_io import write_mp4

    with working(f"generating {path.name}"):
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
        write_mp4(path, video, fps=pipeline.fps, comment=mark_of(request.hash_with(pipeline.manifest, drawing)))
    CONSOLE.print(f"{path}: {len(video)} frames of {video.shape[2]}x{video.shape[1]}")


def _require_writable(out: Path, *, many: bool) -> None:
    """Refuse a place before anything is drawn, which may take hours."""
    if many and out.exists() and not out.is_dir():
        raise ValueError(f"{out} is no folder: of many prompts, name one with --out")
    if not many and (out.is_dir() or out.suffix.lower() != ".mp4"):
        raise ValueError(f"{out} is no mp4 to write: name a file that ends in .mp4 with --out")


def not_drawn_yet(how: ModelOptions, model: str, wanted: dict[Path, VideoRequest]) -> dict[Path, VideoRequest]:
    """Those of the videos that are not there, or were drawn for other requests; the model itself is not loaded for that."""
    there = {path: digest for path in wanted if (digest := drawn_before(path)) is not None}
    if not there:
        return wanted
    manifest = manifest_of(how.settings, model)
    done = {path for path, digest in there.items() if wanted[path].hash_with(manifest, how.drawing) == digest}
    for path in sorted(done):
        CONSOLE.print(f"{path}: drawn before, for the same request")
    return {path: request for path, request in wanted.items() if path not in done}


def _tell_what_helps(pipeline: "LafidPipeline", photos: "Sequence[Image]", choose: "FaceChoice") -> None:
    import numpy as np

    from model.release.photo_coverage import what_photos_add

    number = choose if isinstance(choose, int) else 0
    found = [pipeline.engine.detect(np.asarray(photo), embed=False) for photo in photos]
    for line in what_photos_add([faces[number] if number < len(faces) else None for faces in found]):
        CONSOLE.print(line)


def face_choice(text: str) -> "FaceChoice":
    """ "only", "largest" or a number from 0."""
    if text == "only":
        return "only"
    if text == "largest":
        return "largest"
    if text.isdecimal():
        return int(text)
    raise ValueError(f'{text!r} names no face: say "only", "largest", or a number from 0 (the largest)')


def pull_model(how: ModelOptions, model: str) -> "LafidPipeline":
    """The model of that name, ready to draw."""
    settings = how.settings
    adopted = adopted_in(FileStore(settings.store_uri, settings.home))
    with working(f"pulling {model}"), in_registry(model, tracking_of(settings)):
        from model.release.package import pull

        return pull(model, how.drawing, base_dir=how.base_dir, adopted=adopted, downloads=downloads_of(settings))


def manifest_of(settings: Settings, model: str) -> "Manifest":
    """What a model says of itself; its tensors are not loaded."""
    with in_registry(model, tracking_of(settings)):
        from model.release.checkpoint import read_manifest
        from model.release.package import fetch

        return read_manifest(fetch(model, downloads_of(settings)).checkpoint_dir)


def tracking_of(settings: Settings) -> Tracking:
    """The registry of this installation."""
    return Tracking(settings.mlflow_uri, settings.mlflow_artifacts)


def downloads_of(settings: Settings) -> Path | None:
    """Where models of a registry on a server are kept, so that they are fetched once; None: the registry is on this disk."""
    return None if tracking_of(settings).is_local else settings.downloads
