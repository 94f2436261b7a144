"""A model that many ask: what a request may hold, one generation at a time, a queue of stated length, an end to each request.

Belongs here: request and answer, their limits, whose turn it is, what a caller is told. Not here: how requests arrive (MLflow's
server by `pyfunc_model`, ours by `lafid serve`), drawing (`pipeline`).

What a caller is told names neither files nor code of this machine, and repeats nothing of the pictures.
"""

import base64
import binascii
import hashlib
import logging
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.bases.sizes import SizeError
from model.encoding.face_processor import FaceChoice, FaceError
from model.encoding.picture import PictureUnusable, read_picture
from model.encoding.video_io import write_mp4
from model.release.pipeline import MOST_SEED, InputError, LafidPipeline

LOGGER = logging.getLogger(__name__)

MOST_REQUESTS: Final = 8
"""Videos that one call may ask for; they are drawn in turn, within one deadline."""
MOST_PHOTOS: Final = 16
MOST_ENCODED: Final = 96 << 20
"""Characters of all pictures of a request: 72 MB of files."""
MOST_BODY_BYTES: Final = MOST_ENCODED + (4 << 20)
_MOST_LETTERS = 10_000
_MOST_VOXELS = 1280 * 720 * 161
_SHOWN = 80
"""Characters of a name that a caller chose."""


class ServiceLimits(BaseModel):
    """How many may wait, and for how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    queue: int = Field(4, ge=0, le=1000, description="requests that may wait while one is drawn; more are told to come again")
    timeout_s: float = Field(600.0, gt=0, description="seconds until a request ends, the waiting included, drawn or not")


class VideoRequest(BaseModel):
    """One video to draw; what is left out is as the model was trained."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    image: str = Field("", description="base64 of a picture: the first frame (cut to the aspect), without photos the face too")
    photos: list[str] = Field(
        [], max_length=MOST_PHOTOS, description="base64 of pictures of the person; without `image` the first frame is drawn"
    )
    prompt: str = Field(max_length=_MOST_LETTERS)
    negative_prompt: str = Field("", max_length=_MOST_LETTERS)
    face: str = Field("only", pattern=r"^(only|largest|\d{1,3})$", description="only, largest, or a number from 0 (the largest)")
    height: int | None = Field(None, ge=1, le=4096, description="pixels; alone, the width follows")
    width: int | None = Field(None, ge=1, le=4096, description="pixels; alone, the height follows")
    frames: int | None = Field(None, ge=1, le=1024)
    seed: int = Field(0, ge=0, le=MOST_SEED)
    steps: int = Field(20, ge=1, le=1000)
    guidance: float = Field(3.0, ge=0, le=100)
    face_guidance: float = Field(1.0, ge=0, le=100)

    @model_validator(mode="after")
    def _is_not_too_large(self) -> Self:
        if len(self.image) + sum(map(len, self.photos)) > MOST_ENCODED:
            raise ValueError(f"the pictures have more than {MOST_ENCODED >> 20} MB together: give smaller ones")
        if (self.height or 1) * (self.width or 1) * (self.frames or 1) > _MOST_VOXELS:
            raise ValueError(f"height x width x frames is more than {_MOST_VOXELS}: ask for a smaller or a shorter video")
        return self

    @property
    def choice(self) -> FaceChoice:
        """Which face, as the pipeline takes it."""
        return int(self.face) if self.face.isdecimal() else "largest" if self.face == "largest" else "only"


class VideoAnswer(BaseModel):
    """The video drawn."""

    video: str = Field(description="base64 of an mp4 (H.264, yuv420p)")
    fps: float
    frames: int
    frames_sha256: str = Field(description="of the uint8 RGB frames before encoding: equal for equal requests")


class ServiceError(Exception):
    """Why a request got no video: one line for its caller, and HTTP's number for it."""

    status = 500


class RequestWrong(ServiceError):
    """Nothing can be drawn of it, now or later."""

    status = 400


class TooBusy(ServiceError):
    """The queue is full."""

    status = 429


class TookTooLong(ServiceError):
    """Its time is over; what was drawn of it is lost."""

    status = 504


def parse_request(told: Any) -> VideoRequest:
    """
    Raises:
        RequestWrong: a field is missing, unknown or beyond its limits.
    """
    try:
        return VideoRequest.model_validate(told)
    except ValidationError as error:
        raise RequestWrong(_one_line(error)) from None


class VideoService:
    """Answers requests from any number of threads, one generation at a time, in the order of their coming."""

    def __init__(self, pipeline: LafidPipeline, limits: ServiceLimits) -> None:
        self.pipeline = pipeline
        self.limits = limits
        self._turns = _Turns(limits.queue)

    @property
    def at_work(self) -> int:
        """Calls that are drawn or wait."""
        return self._turns.inside

    def draw(self, requests: Sequence[VideoRequest]) -> list[VideoAnswer]:
        """One answer a request, in order; all or none.

        Raises:
            ServiceError: why there is none.
        """
        if not 1 <= len(requests) <= MOST_REQUESTS:
            raise RequestWrong(f"a call asks for 1 to {MOST_REQUESTS} videos, this one for {len(requests)}")
        deadline = time.monotonic() + self.limits.timeout_s
        with self._turns.turn(deadline, self.limits.timeout_s):
            return [self._draw(request, deadline) for request in requests]

    def _draw(self, request: VideoRequest, deadline: float) -> VideoAnswer:
        def look_at_the_clock(_done: int, _steps: int) -> None:
            if time.monotonic() > deadline:
                raise TookTooLong(f"the video took longer than {self.limits.timeout_s:g} s: ask for fewer steps or frames")

        try:
            frames = self.pipeline.generate(
                _picture(request.image, "image") if request.image else None,
                request.prompt,
                photos=[_picture(photo, f"photo {number}") for number, photo in enumerate(request.photos)],
                negative_prompt=request.negative_prompt or None,
                num_frames=request.frames,
                height=request.height,
                width=request.width,
                steps=request.steps,
                guidance=request.guidance,
                face_guidance=request.face_guidance,
                seed=request.seed,
                choose=request.choice,
                on_step=look_at_the_clock,
            )
        except (InputError, SizeError, FaceError) as error:
            raise RequestWrong(" ".join(str(error).split())) from error
        except ServiceError:
            raise
        except Exception as error:
            LOGGER.exception("a request failed")
            raise ServiceError(f"the model failed on this request ({type(error).__name__}): its server's log says why") from error
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            write_mp4(path, frames, self.pipeline.fps)
            video = base64.b64encode(path.read_bytes()).decode()
        digest = hashlib.sha256(frames.tobytes()).hexdigest()
        return VideoAnswer(video=video, fps=self.pipeline.fps, frames=len(frames), frames_sha256=digest)


class _Turns:
    """Who is at work and who waits, in the order of their coming."""

    def __init__(self, queue: int) -> None:
        self._queue = queue
        self._line: deque[object] = deque()
        self._moved = threading.Condition()

    @property
    def inside(self) -> int:
        return len(self._line)

    @contextmanager
    def turn(self, deadline: float, timeout_s: float) -> Iterator[None]:
        ticket = object()
        with self._moved:
            if len(self._line) > self._queue:
                raise TooBusy(f"one video is drawn and {self._queue} wait already: ask again later")
            self._line.append(ticket)
        try:
            with self._moved:
                if not self._moved.wait_for(lambda: self._line[0] is ticket, timeout=deadline - time.monotonic()):
                    raise TookTooLong(f"its turn did not come within {timeout_s:g} s: ask again later")
            yield
        finally:
            with self._moved:
                self._line.remove(ticket)
                self._moved.notify_all()


def _picture(encoded: str, name: str) -> Image.Image:
    try:
        return read_picture(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        if isinstance(error, PictureUnusable):
            raise RequestWrong(f"{name}: {error}") from error
        raise RequestWrong(f"{name} is no base64: encode the whole file, without a prefix") from error


def _one_line(error: ValidationError) -> str:
    """Which fields are wrong and why, without what they hold."""
    told = []
    for fault in error.errors(include_url=False, include_context=False, include_input=False)[:3]:
        place = ".".join(str(part) for part in fault["loc"])[:_SHOWN]
        told.append(f"{place}: {fault['msg']}" if place else fault["msg"])
    return "; ".join(told)
