"""Who speaks: the decision from stored measures.

Belongs here: the policy's thresholds and `decide`. Not here: measuring (`measures`), words (`caption`). Nothing here looks at the
clip, so a threshold moves without touching video.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator


class SpeakingStatus(StrEnum):
    """Who speaks in a clip, seen from the person in it."""

    ON_SCREEN = "on_screen"
    OFF_SCREEN = "off_screen"
    SILENT = "silent"
    NO_AUDIO = "no_audio"
    UNDECIDABLE = "undecidable"


class SpeakingReason(StrEnum):
    """The measure that decided, by the status that it leads to."""

    # on_screen
    LIPS_MOVE_UNDER_VOICE = "lips_move_under_voice"
    LIPS_FOLLOW_VOICE = "lips_follow_voice"
    # off_screen
    LIPS_STILL_UNDER_VOICE = "lips_still_under_voice"
    # silent
    NO_VOICE = "no_voice"
    NO_VOICE_LIPS_MOVE = "no_voice_lips_move"
    # no_audio
    NO_AUDIO_STREAM = "no_audio_stream"
    # undecidable
    NOT_MEASURED = "not_measured"
    NO_FACE = "no_face"
    NO_MOUTH_OPENING = "no_mouth_opening"
    MOUTH_HIDDEN = "mouth_hidden"
    PROFILE = "profile"
    SEVERAL_FACES = "several_faces"
    LIPS_BARELY_MOVE = "lips_barely_move"


class SpeechPolicy(BaseModel):
    """When a clip counts as spoken on screen. All defaults are ours.

    No threshold comes from labelled clips. Mouth: portraits with a still mouth, moved, tilted and zoomed under sensor noise
    and H.264, give ranges of 0.002 to 0.009 (dlib); a speaking mouth opens by 5 to 15 mm on a face of about 115 mm, 0.04
    to 0.13. Correlation: moving lips against voices that are not theirs reach 0.5 once in twenty over 3 to 5 s.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="cofe", min_length=1, description="Recorded with every decision.")
    min_voice_s: float = Field(default=0.5, ge=0, description="Less voice than this in the whole clip counts as none.")
    still_max_range: float = Field(
        default=0.02, ge=0, description="A mouth that moves less, as a share of the face's height, is still."
    )
    moving_min_range: float = Field(default=0.03, ge=0, description="A mouth that moves more is speaking, when there is a voice.")
    min_measurable_share: float = Field(
        default=0.5, ge=0, le=1, description="Looks with a measured mouth that are needed; below, the mouth counts as hidden."
    )
    max_yaw_abs_deg: float = Field(
        default=40.0, ge=0, le=90, description="Median |yaw| above which the mouth is seen in profile."
    )
    max_several_faces_share: float = Field(
        default=0.2, ge=0, le=1, description="Pictures with further faces above which a voice may be somebody else's."
    )
    min_correlation: float = Field(
        default=0.5, ge=-1, le=1, description="Correlation of lips and sound that settles what movement alone leaves open."
    )

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> "SpeechPolicy":
        if self.still_max_range > self.moving_min_range:
            raise ValueError("still_max_range must not exceed moving_min_range")
        return self


class Decision(NamedTuple):
    """The speaking status and the measure that decided."""

    status: SpeakingStatus
    reason: SpeakingReason


def decide(row: Mapping[str, Any], policy: SpeechPolicy | None = None) -> Decision:
    """Who speaks, from one row of `speech_info` (`SpeechMeasures.as_row`).

    A face in profile, a hidden mouth and a second face make a clip `undecidable`, never `off_screen`: nobody saw the lips of
    whoever speaks. Without a voice nothing about the lips is needed.
    """
    policy = policy or SpeechPolicy()
    if row["has_audio"] is None:
        return Decision(SpeakingStatus.UNDECIDABLE, SpeakingReason.NOT_MEASURED)
    if not row["has_audio"]:
        return Decision(SpeakingStatus.NO_AUDIO, SpeakingReason.NO_AUDIO_STREAM)
    if voice_s(row) < policy.min_voice_s:
        moving = not _hidden(row, policy) and row["mouth_range"] >= policy.moving_min_range
        return Decision(SpeakingStatus.SILENT, SpeakingReason.NO_VOICE_LIPS_MOVE if moving else SpeakingReason.NO_VOICE)
    hidden = _hidden(row, policy)
    if hidden:
        return Decision(SpeakingStatus.UNDECIDABLE, hidden)
    return _by_lips(row, policy)


def voice_s(row: Mapping[str, Any]) -> float:
    """How long a voice is heard in the whole clip, seconds."""
    return float(sum(span["end_s"] - span["start_s"] for span in row["voice_spans"] or ()))


def _hidden(row: Mapping[str, Any], policy: SpeechPolicy) -> SpeakingReason | None:
    """Why the mouth cannot be judged; None where it can."""
    if not row["face_share"]:
        return SpeakingReason.NO_FACE
    yaw = row["mouth_yaw_abs_median_deg"]
    if yaw is not None and yaw > policy.max_yaw_abs_deg:
        return SpeakingReason.PROFILE
    if row["mouth_measurable_share"] == 0:
        return SpeakingReason.NO_MOUTH_OPENING  # in no look: covered all along, or an engine that measures no lips
    if row["mouth_range"] is None or row["mouth_measurable_share"] < policy.min_measurable_share:
        return SpeakingReason.MOUTH_HIDDEN
    return None


def _by_lips(row: Mapping[str, Any], policy: SpeechPolicy) -> Decision:
    """A measurable mouth under a voice."""
    correlation = row["lip_audio_correlation"]
    follows = correlation is not None and correlation >= policy.min_correlation
    moves, still = row["mouth_range"] >= policy.moving_min_range, row["mouth_range"] <= policy.still_max_range
    if row["several_faces_share"] > policy.max_several_faces_share and not (moves and follows):
        return Decision(SpeakingStatus.UNDECIDABLE, SpeakingReason.SEVERAL_FACES)
    if moves:
        return Decision(SpeakingStatus.ON_SCREEN, SpeakingReason.LIPS_MOVE_UNDER_VOICE)
    if still:
        return Decision(SpeakingStatus.OFF_SCREEN, SpeakingReason.LIPS_STILL_UNDER_VOICE)
    if follows:
        return Decision(SpeakingStatus.ON_SCREEN, SpeakingReason.LIPS_FOLLOW_VOICE)
    return Decision(SpeakingStatus.UNDECIDABLE, SpeakingReason.LIPS_BARELY_MOVE)
