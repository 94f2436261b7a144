"""What MLflow runs: the entry point that it stores as source and executes on `mlflow.pyfunc.load_model`.

Belongs here: the request and the answer of a served model, and nothing that `pipeline` does not already do. MLflow copies
this file next to the package `model`, so it imports that package by name and itself is imported by nobody.
"""

import base64
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from model.encoding.picture import read_picture
from model.encoding.video_io import write_mp4
from model.release.drawing_settings import DrawingSettings
from model.release.pipeline import InputError, load


class VideoRequest(BaseModel):
    """One video to draw."""

    model_config = ConfigDict(extra="forbid")

    image: str = Field(
        "", description="base64 of a PNG or JPEG: the first frame (cut to the aspect), without photos the face too"
    )
    photos: list[str] = Field([], description="base64 of pictures of the person; without `image` the first frame is drawn")
    prompt: str
    negative_prompt: str = ""
    seed: int = 0
    steps: int = 20
    guidance: float = 3.0
    face_guidance: float = 1.0


class VideoAnswer(BaseModel):
    """The video drawn."""

    video: str = Field(description="base64 of an mp4 (H.264, yuv420p)")
    fps: float
    frames: int
    frames_sha256: str = Field(description="of the uint8 RGB frames before encoding: equal for equal requests")


class LafidModel(PythonModel):
    """`pipeline.LafidPipeline` behind MLflow's interface."""

    def load_context(self, context: PythonModelContext) -> None:
        """Called by MLflow once, with the paths of the artifacts that `package` logged."""
        configured = dict(context.model_config)
        base = context.artifacts.get("base") or configured["base_dir"]
        if not base:
            raise ValueError("the model's base does not travel with it: load it with model_config={'base_dir': its folder}")
        drawing = DrawingSettings.of({name: value for name, value in configured.items() if name != "base_dir"})
        self.pipeline = load(Path(context.artifacts["checkpoint"]), Path(base), drawing)

    def predict(
        self, context: PythonModelContext, model_input: list[VideoRequest], params: dict[str, Any] | None = None
    ) -> list[VideoAnswer]:
        """One answer a request, in order."""
        return [self._draw(request) for request in model_input]

    def _draw(self, request: VideoRequest) -> VideoAnswer:
        frames = self.pipeline.generate(
            _picture(request.image) if request.image else None,
            request.prompt,
            photos=[_picture(photo) for photo in request.photos],
            negative_prompt=request.negative_prompt or None,
            seed=request.seed,
            steps=request.steps,
            guidance=request.guidance,
            face_guidance=request.face_guidance,
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            write_mp4(path, frames, self.pipeline.fps)
            video = base64.b64encode(path.read_bytes()).decode()
        digest = hashlib.sha256(frames.tobytes()).hexdigest()
        return VideoAnswer(video=video, fps=self.pipeline.fps, frames=len(frames), frames_sha256=digest)


def _picture(encoded: str) -> Image.Image:
    try:
        content = base64.b64decode(encoded)
    except ValueError as error:
        raise InputError(f"a picture of the request is no base64 ({error}): encode the whole file, without a prefix") from error
    return read_picture(content)


mlflow.models.set_model(LafidModel())
