"""Why somebody counts as speaking or not: every threshold of the policy beside what was measured.

Belongs here: one row of `speech_info` -> lines. Not here: deciding (`speaking_status`), the command.
"""

from collections.abc import Mapping
from typing import Any, Literal

from lafid_assets.constraints.explanation import RuleLine
from lafid_assets.speech.speaking_status import SpeechPolicy, voice_s


def explain_speech(row: Mapping[str, Any], policy: SpeechPolicy) -> list[RuleLine]:
    """The questions that `speaking_status.decide` asks, in its order; a line is broken where the answer is no.

    Args:
        row: of `speech_info`, or its window's (`clip_window.measures_between`).
    """
    mouth = row["mouth_model"]
    here = "window_lip_audio_z" if "window_lip_audio_z" in row else "lip_audio_z"
    asked: list[tuple[str, str, float | None, Literal["at least", "at most", "more than", "less than"], float]] = [
        ("a voice is heard", "voice_s", voice_s(row) if row["has_audio"] else None, "at least", policy.min_voice_s),
        ("a face is seen", "face_share", row["face_share"], "more than", 0.0),
        ("not in profile", "mouth_yaw_abs_median_deg", row["mouth_yaw_abs_median_deg"], "at most", policy.max_yaw_abs_deg),
        ("mouth not hidden", "mouth_measurable_share", row["mouth_measurable_share"], "at least", policy.min_measurable_share),
        ("nobody else there", "several_faces_share", row["several_faces_share"], "at most", policy.max_several_faces_share),
        ("lips follow voice", "lip_audio_z", row["lip_audio_z"], "at least", policy.min_sync_z),
    ]
    if mouth in policy.moving_min_range:
        asked += [
            ("lips move", "mouth_range", row["mouth_range"], "at least", policy.moving_min_range[mouth]),
            ("lips are still", "mouth_range", row["mouth_range"], "at most", policy.still_max_range[mouth]),
            ("lips do not follow", here, row[here], "less than", policy.still_max_sync_z),
        ]
    return [
        RuleLine(rule, measure, measured, f"{words} {threshold:g}", measured is not None and _fails(measured, words, threshold))
        for rule, measure, measured, words, threshold in asked
    ]


def _fails(measured: float, words: str, threshold: float) -> bool:
    return {
        "at least": measured < threshold,
        "at most": measured > threshold,
        "more than": measured <= threshold,
        "less than": measured >= threshold,
    }[words]
