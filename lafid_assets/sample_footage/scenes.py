"""What a scene of the sample footage is made of.

Belongs here: the types of the screenplay. Not here: the scenes themselves (`screenplay`), pixels (`render`), sound (`voice`).
"""

import hashlib
from enum import StrEnum
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from lafid_assets.outcomes import Reason, Status

Range = tuple[float, float]
SpeakingStatus = Literal["on_screen", "off_screen", "silent", "no_audio"]


class Motion(BaseModel):
    """How a head moves: through the whole of each range once a period. Degrees; signs as in `model.face_engine.rotations`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    yaw_deg: Range = (-38.0, 34.0)
    pitch_deg: Range = (-9.0, 9.0)
    roll_deg: Range = (-9.0, 9.0)
    period_s: float = Field(3.0, gt=0)


STILL = Motion(yaw_deg=(0.0, 2.0), pitch_deg=(-0.5, 0.5), roll_deg=(-0.5, 0.5))


class Appearance(BaseModel):
    """A person in the picture; `x` and `y` place the bridge of the nose, as shares of the frame's width and height."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: str
    x: float = 0.5
    y: float = 0.42
    scale: float = Field(1.0, gt=0, description="1: the face is 168 px wide from ear to ear.")
    motion: Motion = Motion()


class Shot(BaseModel):
    """An uncut stretch of film. A scene of several shots has hard cuts between them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    duration_s: float = Field(gt=0)
    people: tuple[Appearance, ...] = ()


class Sound(StrEnum):
    """What is heard."""

    VOICE = "voice"
    AMBIENCE = "ambience"
    NO_STREAM = "no_stream"


class Fault(StrEnum):
    """What is wrong with the clip's file or row."""

    TRUNCATED = "truncated"
    EMPTY = "empty"
    NO_FILE = "no_file"
    NO_ROW = "no_row"


class Scene(BaseModel):
    """One clip: its film, its sound, its faults, its caption, and what curation should make of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    shots: tuple[Shot, ...] = ()
    sound: Sound = Sound.AMBIENCE
    lips_move: bool = False
    fps: int = 24
    size: tuple[int, int] = Field((480, 480), description="Width and height in pixels.")
    fault: Fault | None = None
    caption: str
    status: Status = Status.OK
    reason: Reason | None = None

    @cached_property
    def clip_id(self) -> str:
        """32 hex digits, stable under every change but that of the name."""
        return hashlib.sha256(f"lafid sample footage: {self.name}".encode()).hexdigest()[:32]

    @property
    def path(self) -> str:
        """Where OpenHumanVid's first part would hold the clip."""
        return f"clips/part_001/{self.clip_id[:2]}/{self.clip_id[2:4]}/{self.clip_id}"

    @property
    def seed(self) -> int:
        """Source of all chance in this scene."""
        return int(self.clip_id[:8], 16)

    @property
    def duration_s(self) -> float:
        """Length of the whole clip."""
        return sum(shot.duration_s for shot in self.shots)

    @property
    def persons(self) -> tuple[str, ...]:
        """Who appears, in order of appearance."""
        return tuple(dict.fromkeys(appearance.person for shot in self.shots for appearance in shot.people))

    @property
    def speaking_status(self) -> SpeakingStatus | None:
        """Who speaks; None where not exactly one person is seen all along."""
        if len(self.persons) != 1:
            return None
        if self.sound == Sound.NO_STREAM:
            return "no_audio"
        if self.sound == Sound.AMBIENCE:
            return "silent"
        return "on_screen" if self.lips_move else "off_screen"
