"""Who speaks: the decision from stored measures.

Belongs here: the policy's thresholds and `decide`. Not here: measuring (`measures`), words (`caption`). Nothing here looks at the
clip, so a threshold moves without touching video.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field, model_validator

from model.face_engine.interface import MOUTH_MODELS
from model.strict import StrictModel


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
    MODEL_UNCALIBRATED = "model_uncalibrated"
    NOT_IN_SYNC = "not_in_sync"
    LIPS_BARELY_MOVE = "lips_barely_move"


class SpeechPolicy(StrictModel):
    """When a clip counts as spoken on screen. All defaults are ours; amplitudes are by mouth model, for models differ in them.

    Amplitude tells a closed mouth, synchrony a speaker: lips that move under any voice may be dubbed, so only lips that follow
    the voice above chance speak it. `benchmarks/sync.py` measures what a z is worth: at 1.4, one dub in eight passes and seven
    of ten speakers do (27 speakers of 5 to 8 s, dlib and Face Mesh alike); at 3, one dub in a hundred.
    Amplitude, as a share of the face's height: closed mouths under a voice move by 0.001 to 0.007, and by 0.010 where they smile
    or sway (either model); the least of 27 speakers by 0.023 (dlib) and 0.018 (Face Mesh), the median by 0.065 and 0.056. Of
    2d106 no weights were at hand, and it has no thresholds: whatever it sees is undecidable until somebody measures both.
    """

    name: str = Field(default="cofe", min_length=1, description="Recorded with every decision.")
    min_voice_s: float = Field(default=0.5, ge=0, description="Less voice than this in the whole clip counts as none.")
    still_max_range: dict[str, float] = Field(
        default={"dlib": 0.012, "face_mesh": 0.012},
        description="By mouth model: a mouth that moves less, as a share of the face's height, is still.",
    )
    moving_min_range: dict[str, float] = Field(
        default={"dlib": 0.03, "face_mesh": 0.025},
        description="By mouth model: a mouth that moves more moves as a speaker's does. What a model without a threshold sees is "
        "undecidable.",
    )
    min_measurable_share: float = Field(
        default=0.5, ge=0, le=1, description="Looks with a measured mouth that are needed; below, the mouth counts as hidden."
    )
    max_yaw_abs_deg: float = Field(
        default=40.0, ge=0, le=90, description="Median |yaw| above which the mouth is seen in profile."
    )
    max_several_faces_share: float = Field(
        default=0.2, ge=0, le=1, description="Pictures with further faces above which a voice may be somebody else's."
    )
    min_sync_z: float = Field(
        default=1.4, description="How far above chance, in its spreads, lips follow the voice that is theirs."
    )
    still_max_sync_z: float = Field(
        default=3.0, description="Lips that seem still and follow the voice closer than this may be a speaker's all the same."
    )

    @model_validator(mode="after")
    def _thresholds_of_the_same_models(self) -> "SpeechPolicy":
        for name in ("still_max_range", "moving_min_range"):
            ranges = getattr(self, name)
            if not set(ranges) <= set(MOUTH_MODELS) or min(ranges.values(), default=0.0) < 0:
                raise ValueError(f"{name} names shares from 0 on, for mouth models out of {', '.join(MOUTH_MODELS)}")
        if set(self.still_max_range) != set(self.moving_min_range):
            raise ValueError("still_max_range and moving_min_range must name the same mouth models")
        if any(self.still_max_range[model] > self.moving_min_range[model] for model in self.still_max_range):
            raise ValueError("still_max_range must not exceed moving_min_range")
        return self


class Decision(NamedTuple):
    """The speaking status and the measure that decided."""

    status: SpeakingStatus
    reason: SpeakingReason


def decide(row: Mapping[str, Any], policy: SpeechPolicy | None = None) -> Decision:
    """Who speaks, from one row of `speech_info` (`SpeechMeasures.as_row`), or its window's (`clip_window.measures_between`).

    A face in profile, a hidden mouth and a second face make a clip `undecidable`, never `off_screen`: nobody saw the lips of
    whoever speaks. Without a voice nothing about the lips is needed.
    """
    policy = policy or SpeechPolicy()
    if row["has_audio"] is None:
        return Decision(SpeakingStatus.UNDECIDABLE, SpeakingReason.NOT_MEASURED)
    if not row["has_audio"]:
        return Decision(SpeakingStatus.NO_AUDIO, SpeakingReason.NO_AUDIO_STREAM)
    if voice_s(row) < policy.min_voice_s:
        moving = not _unjudged(row, policy) and row["mouth_range"] >= policy.moving_min_range[row["mouth_model"]]
        return Decision(SpeakingStatus.SILENT, SpeakingReason.NO_VOICE_LIPS_MOVE if moving else SpeakingReason.NO_VOICE)
    unjudged = _unjudged(row, policy)
    if unjudged:
        return Decision(SpeakingStatus.UNDECIDABLE, unjudged)
    return _by_lips(row, policy)


def voice_s(row: Mapping[str, Any]) -> float:
    """How long a voice is heard in the whole clip, seconds."""
    return float(sum(span["end_s"] - span["start_s"] for span in row["voice_spans"] or ()))


def _unjudged(row: Mapping[str, Any], policy: SpeechPolicy) -> SpeakingReason | None:
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
    return None if row["mouth_model"] in policy.still_max_range else SpeakingReason.MODEL_UNCALIBRATED


def _by_lips(row: Mapping[str, Any], policy: SpeechPolicy) -> Decision:
    """A measurable mouth under a voice. One that seems still but follows it closely stays undecided, as what lies between.

    Of a window, whether a moving mouth speaks is told by the whole clip, whether a still one does by the window alone: its person
    may speak before it and listen in it.
    """
    z, extent = row["lip_audio_z"], row["mouth_range"]
    here = row.get("window_lip_audio_z", z)
    still = extent <= policy.still_max_range[row["mouth_model"]]
    if z is not None and z >= policy.min_sync_z and not still:
        return Decision(SpeakingStatus.ON_SCREEN, SpeakingReason.LIPS_FOLLOW_VOICE)
    if row["several_faces_share"] > policy.max_several_faces_share:
        return Decision(SpeakingStatus.UNDECIDABLE, SpeakingReason.SEVERAL_FACES)
    if still and (here is None or here < policy.still_max_sync_z):
        return Decision(SpeakingStatus.OFF_SCREEN, SpeakingReason.LIPS_STILL_UNDER_VOICE)
    moves = extent >= policy.moving_min_range[row["mouth_model"]]
    return Decision(SpeakingStatus.UNDECIDABLE, SpeakingReason.NOT_IN_SYNC if moves else SpeakingReason.LIPS_BARELY_MOVE)
