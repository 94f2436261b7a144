"""What was heard and seen in a clip's window, out of what was measured of the whole clip.

Belongs here: a row of `speech_info` cut down to some seconds. Not here: measuring (`measures`), deciding (`speaking_status`),
which seconds (`constraints.window`).

A clip is listened to and looked at once. Its looks and its sound are kept moment by moment: another window opens no video.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from lafid_assets.speech.lips import MouthTrack
from lafid_assets.speech.measures import mouth_columns, sync_columns
from lafid_assets.speech.synchrony import Envelope
from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.voice import Span, spans_within

Row = Mapping[str, Any]


def measures_between(row: Row, begin_s: float | None, end_s: float | None) -> Row:
    """The row as if the clip had been looked at between two moments only; the whole where there are none.

    Its columns of synchrony are of the whole clip still, which tells better whose voice it is; `window_lip_audio_z` is of these
    seconds alone. In a clip without a voice the mouth was looked at in a few seconds all over it, which stand for every part.

    Args:
        row: of `speech_info`, of a clip that was measured.
    """
    if begin_s is None or end_s is None or not row["voice_spans"]:
        return row
    mouth = None if row["mouth_times_s"] is None else _mouth(row).between(begin_s, end_s)
    envelope = None if row["sound_energy"] is None else Envelope(np.array(row["sound_energy"], np.float64))
    said = row["segments"]
    return {
        **row,
        "voice_spans": [asdict(span) for span in spans_within(_voice(row), begin_s, end_s)],
        "segments": said and [one for one in said if TranscriptSegment(**one).lies_within(begin_s, end_s)],
        **mouth_columns(mouth),
        "window_lip_audio_z": sync_columns(mouth, envelope)["lip_audio_z"],
    }


def is_seen(row: Row, window: Span, fps: float) -> bool:
    """Whether the mouth was looked at wherever a voice is heard in the window.

    Args:
        fps: looks a second.
    """
    voice, times_s = spans_within(_voice(row), window.start_s, window.end_s), row["mouth_times_s"]
    if not voice or not times_s:
        return True
    return bool(times_s[0] <= voice[0].start_s + 2 / fps and voice[-1].end_s <= times_s[-1] + 2 / fps)


def _voice(row: Row) -> list[Span]:
    return [Span(**span) for span in row["voice_spans"] or ()]


def _mouth(row: Row) -> MouthTrack:
    return MouthTrack(
        np.array(row["mouth_times_s"], np.float64),
        np.array(row["mouth_openings"], np.float64),
        np.array(row["mouth_yaw_deg"], np.float64),
        np.array(row["mouth_runs"], np.int64),
        np.array(row["searched_times_s"], np.float64),
        np.array(row["face_counts"], np.int64),
    )
