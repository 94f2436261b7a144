"""Every way to a decision, from a stored row alone."""

import pytest
from pydantic import ValidationError

from lafid_assets.speech.speaking_status import SpeakingReason, SpeakingStatus, SpeechPolicy, decide
from model.face_engine.interface import MOUTH_MODELS

SPEAKING = {
    "has_audio": True,
    "voice_spans": [{"start_s": 0.2, "end_s": 2.0}, {"start_s": 2.5, "end_s": 4.0}],
    "face_share": 1.0,
    "several_faces_share": 0.0,
    "mouth_model": "dlib",
    "mouth_range": 0.08,
    "mouth_measurable_share": 0.95,
    "mouth_yaw_abs_median_deg": 8.0,
    "lip_audio_z": 4.0,
}
STILL = {"mouth_range": 0.008, "lip_audio_z": 0.5}
DUBBED = {"lip_audio_z": 0.9}
NO_VOICE = {"voice_spans": [], "lip_audio_z": None}
NO_LIPS = {"mouth_range": None, "mouth_measurable_share": 0.0, "lip_audio_z": None}
UNSEEN = NO_LIPS | {"face_share": 0.0, "mouth_yaw_abs_median_deg": None}
MESH = {"mouth_model": "face_mesh"}

CASES = [
    ({}, "on_screen", "lips_follow_voice"),
    (DUBBED, "undecidable", "not_in_sync"),
    ({"lip_audio_z": None}, "undecidable", "not_in_sync"),
    (STILL, "off_screen", "lips_still_under_voice"),
    (STILL | {"lip_audio_z": None}, "off_screen", "lips_still_under_voice"),
    (STILL | {"lip_audio_z": 2.0}, "off_screen", "lips_still_under_voice"),
    (STILL | {"lip_audio_z": 4.0}, "undecidable", "lips_barely_move"),
    (DUBBED | {"mouth_range": 0.02}, "undecidable", "lips_barely_move"),
    ({"mouth_range": 0.02}, "on_screen", "lips_follow_voice"),
    (DUBBED | {"mouth_range": 0.010}, "off_screen", "lips_still_under_voice"),
    ({"window_lip_audio_z": 0.3}, "on_screen", "lips_follow_voice"),
    (DUBBED | {"window_lip_audio_z": 4.0}, "undecidable", "not_in_sync"),
    (STILL | {"lip_audio_z": 4.0, "window_lip_audio_z": 0.3}, "off_screen", "lips_still_under_voice"),
    (STILL | {"lip_audio_z": 4.0, "window_lip_audio_z": None}, "off_screen", "lips_still_under_voice"),
    (STILL | {"window_lip_audio_z": 4.0}, "undecidable", "lips_barely_move"),
    ({"mouth_model": "2d106"}, "undecidable", "model_uncalibrated"),
    ({"mouth_model": "2d106"} | STILL, "undecidable", "model_uncalibrated"),
    ({"mouth_model": "2d106"} | NO_VOICE, "silent", "no_voice"),
    ({"mouth_model": "2d106"} | NO_VOICE | UNSEEN, "silent", "no_voice"),
    (MESH | DUBBED | {"mouth_range": 0.026}, "undecidable", "not_in_sync"),
    (DUBBED | {"mouth_range": 0.026}, "undecidable", "lips_barely_move"),
    (STILL | {"mouth_yaw_abs_median_deg": 55.0}, "undecidable", "profile"),
    ({"mouth_yaw_abs_median_deg": 55.0}, "undecidable", "profile"),
    (STILL | {"mouth_measurable_share": 0.2}, "undecidable", "mouth_hidden"),
    ({"mouth_range": None}, "undecidable", "mouth_hidden"),
    (UNSEEN, "undecidable", "no_face"),
    (NO_LIPS, "undecidable", "no_mouth_opening"),
    (NO_LIPS | {"mouth_yaw_abs_median_deg": None}, "undecidable", "no_mouth_opening"),
    (NO_LIPS | NO_VOICE, "silent", "no_voice"),
    (STILL | {"several_faces_share": 0.6}, "undecidable", "several_faces"),
    (DUBBED | {"several_faces_share": 0.6}, "undecidable", "several_faces"),
    ({"several_faces_share": 0.6}, "on_screen", "lips_follow_voice"),
    ({"several_faces_share": 0.1}, "on_screen", "lips_follow_voice"),
    (NO_VOICE | STILL, "silent", "no_voice"),
    (NO_VOICE, "silent", "no_voice_lips_move"),
    (NO_VOICE | UNSEEN, "silent", "no_voice"),
    (NO_VOICE | {"mouth_yaw_abs_median_deg": 70.0}, "silent", "no_voice"),
    ({"voice_spans": [{"start_s": 0.0, "end_s": 0.3}]}, "silent", "no_voice_lips_move"),
    ({"has_audio": False}, "no_audio", "no_audio_stream"),
    ({"has_audio": None}, "undecidable", "not_measured"),
]


@pytest.mark.parametrize(("change", "status", "reason"), CASES)
def test_decisions(change, status, reason):
    assert decide(SPEAKING | change) == (status, reason)


def test_every_status_and_reason_is_reached():
    assert {status for _, status, _ in CASES} == set(SpeakingStatus)
    assert {reason for _, _, reason in CASES} == set(SpeakingReason)


def test_no_audio_needs_nothing_else():
    row = dict.fromkeys(SPEAKING) | {"has_audio": False}
    assert decide(row).status is SpeakingStatus.NO_AUDIO


WIDE = dict.fromkeys(MOUTH_MODELS, 0.1)


def test_thresholds_that_somebody_measured_for_a_model_count():
    own = SpeechPolicy(still_max_range=WIDE, moving_min_range=WIDE)
    assert decide(SPEAKING | {"mouth_model": "2d106"} | STILL, own).status is SpeakingStatus.OFF_SCREEN


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (SpeechPolicy(min_sync_z=5.0), SpeakingStatus.UNDECIDABLE),
        (SpeechPolicy(still_max_range=WIDE, moving_min_range=WIDE), SpeakingStatus.UNDECIDABLE),
        (SpeechPolicy(still_max_range=WIDE, moving_min_range=WIDE, still_max_sync_z=5.0), SpeakingStatus.OFF_SCREEN),
        (SpeechPolicy(min_voice_s=10.0), SpeakingStatus.SILENT),
        (SpeechPolicy(max_yaw_abs_deg=5.0), SpeakingStatus.UNDECIDABLE),
        (SpeechPolicy(min_measurable_share=0.99), SpeakingStatus.UNDECIDABLE),
    ],
)
def test_a_threshold_moves_the_decision(policy, status):
    assert decide(SPEAKING).status is SpeakingStatus.ON_SCREEN
    assert decide(SPEAKING, policy).status is status


@pytest.mark.parametrize(
    "ranges",
    [
        {"still_max_range": WIDE},
        {"still_max_range": {"dlib": 0.01}},
        {"moving_min_range": WIDE | {"another": 0.1}},
        {"moving_min_range": {"face_mesh": 0.1}},
        {"still_max_range": WIDE | {"dlib": -0.1}},
    ],
)
def test_thresholds_out_of_order_or_of_other_mouth_models_are_refused(ranges):
    with pytest.raises(ValidationError, match=next(iter(ranges))):
        SpeechPolicy(**ranges)
