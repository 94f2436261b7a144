"""Every way to a decision, from a stored row alone."""

import pytest
from pydantic import ValidationError

from lafid_assets.speech.speaking_status import SpeakingReason, SpeakingStatus, SpeechPolicy, decide

SPEAKING = {
    "has_audio": True,
    "voice_spans": [{"start_s": 0.2, "end_s": 2.0}, {"start_s": 2.5, "end_s": 4.0}],
    "face_share": 1.0,
    "several_faces_share": 0.0,
    "mouth_range": 0.08,
    "mouth_measurable_share": 0.95,
    "mouth_yaw_abs_median_deg": 8.0,
    "lip_audio_correlation": 0.3,
}
STILL = {"mouth_range": 0.008}
NO_VOICE = {"voice_spans": [], "lip_audio_correlation": None}
NO_LIPS = {"mouth_range": None, "mouth_measurable_share": 0.0}
UNSEEN = {"face_share": 0.0, "mouth_range": None, "mouth_measurable_share": 0.0, "mouth_yaw_abs_median_deg": None}

CASES = [
    ({}, "on_screen", "lips_move_under_voice"),
    (STILL, "off_screen", "lips_still_under_voice"),
    ({"mouth_range": 0.025}, "undecidable", "lips_barely_move"),
    ({"mouth_range": 0.025, "lip_audio_correlation": None}, "undecidable", "lips_barely_move"),
    ({"mouth_range": 0.025, "lip_audio_correlation": 0.7}, "on_screen", "lips_follow_voice"),
    (STILL | {"lip_audio_correlation": 0.7}, "off_screen", "lips_still_under_voice"),
    (STILL | {"mouth_yaw_abs_median_deg": 55.0}, "undecidable", "profile"),
    ({"mouth_yaw_abs_median_deg": 55.0}, "undecidable", "profile"),
    (STILL | {"mouth_measurable_share": 0.2}, "undecidable", "mouth_hidden"),
    ({"mouth_range": None}, "undecidable", "mouth_hidden"),
    (UNSEEN, "undecidable", "no_face"),
    (NO_LIPS, "undecidable", "no_mouth_opening"),
    (NO_LIPS | {"mouth_yaw_abs_median_deg": None}, "undecidable", "no_mouth_opening"),
    (NO_LIPS | NO_VOICE, "silent", "no_voice"),
    (STILL | {"several_faces_share": 0.6}, "undecidable", "several_faces"),
    ({"several_faces_share": 0.6}, "undecidable", "several_faces"),
    ({"several_faces_share": 0.6, "lip_audio_correlation": 0.7}, "on_screen", "lips_move_under_voice"),
    ({"several_faces_share": 0.1}, "on_screen", "lips_move_under_voice"),
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


@pytest.mark.parametrize(
    ("policy", "status"),
    [
        (SpeechPolicy(moving_min_range=0.1), SpeakingStatus.UNDECIDABLE),
        (SpeechPolicy(still_max_range=0.09, moving_min_range=0.1), SpeakingStatus.OFF_SCREEN),
        (SpeechPolicy(min_voice_s=10.0), SpeakingStatus.SILENT),
        (SpeechPolicy(max_yaw_abs_deg=5.0), SpeakingStatus.UNDECIDABLE),
        (SpeechPolicy(min_measurable_share=0.99), SpeakingStatus.UNDECIDABLE),
    ],
)
def test_a_threshold_moves_the_decision(policy, status):
    assert decide(SPEAKING).status is SpeakingStatus.ON_SCREEN
    assert decide(SPEAKING, policy).status is status


def test_thresholds_out_of_order_are_refused():
    with pytest.raises(ValidationError, match="still_max_range"):
        SpeechPolicy(still_max_range=0.05, moving_min_range=0.03)
