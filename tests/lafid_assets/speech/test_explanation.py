"""Every question of the speech policy beside what was measured."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.schemas import SPEECH_INFO
from lafid_assets.speech.explanation import explain_speech
from lafid_assets.speech.speaking_status import SpeechPolicy

RowOf = Callable[..., dict[str, Any]]


def test_each_threshold_with_its_answer(row_of: RowOf) -> None:
    row = row_of(
        SPEECH_INFO,
        has_audio=True,
        voice_spans=[{"start_s": 0.0, "end_s": 0.4}, {"start_s": 1.0, "end_s": 1.5}],
        face_share=0.0,
        mouth_yaw_abs_median_deg=41.0,
        mouth_measurable_share=0.4,
        several_faces_share=0.3,
        mouth_model="face_mesh",
        mouth_range=0.02,
        lip_audio_z=None,
    )
    lines = explain_speech(row, SpeechPolicy(min_voice_s=0.8))
    assert [(line.measure, line.demand, line.broken) for line in lines] == [
        ("voice_s", "at least 0.8", False),
        ("face_share", "more than 0", True),
        ("mouth_yaw_abs_median_deg", "at most 40", True),
        ("mouth_measurable_share", "at least 0.5", True),
        ("several_faces_share", "at most 0.2", True),
        ("lip_audio_z", "at least 1.4", False),
        ("mouth_range", "at least 0.025", True),
        ("mouth_range", "at most 0.012", True),
        ("lip_audio_z", "less than 3", False),
    ]
    assert lines[0].measured == 0.9
    assert lines[5].measured is None


@pytest.mark.parametrize(("z", "broken"), [(2.9, False), (3.0, True)])
def test_a_still_mouth_that_follows_the_voice_is_seen_to_be_no_listener(row_of: RowOf, z: float, broken: bool) -> None:
    """In its window, not in the clip."""
    seen = row_of(SPEECH_INFO, has_audio=True, voice_spans=[], mouth_model="dlib", mouth_range=0.01, lip_audio_z=0.0)
    line = explain_speech(seen | {"window_lip_audio_z": z}, SpeechPolicy())[-1]
    assert (line.measure, line.measured, line.broken) == ("window_lip_audio_z", z, broken)


def test_without_sound_no_voice_is_measured(row_of: RowOf) -> None:
    lines = explain_speech(row_of(SPEECH_INFO, has_audio=False, voice_spans=None, mouth_model=None), SpeechPolicy())
    assert lines[0].measured is None
    assert "mouth_range" not in {line.measure for line in lines}, "no mouth model, no threshold of one"
    unmeasured = explain_speech(row_of(SPEECH_INFO, has_audio=True, voice_spans=[], mouth_model="2d106"), SpeechPolicy())
    assert "mouth_range" not in {line.measure for line in unmeasured}
