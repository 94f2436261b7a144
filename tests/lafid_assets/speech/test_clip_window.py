"""Who speaks is told of the window, from what was stored of the whole clip."""

import numpy as np
import pytest

from lafid_assets.schemas import SPEECH_INFO
from lafid_assets.speech.clip_window import is_seen, measures_between
from lafid_assets.speech.measures import measure_speech
from lafid_assets.speech.speaking_status import decide
from lafid_assets.speech.voice import Span

FPS = 25
HALF_S = 4
TIMES_S = np.arange(HALF_S * FPS) / FPS


@pytest.fixture(scope="module")
def row(tmp_path_factory, write_clip, mouth_pictures, synthetic_voice, syllables, painted_engine):
    """Of a clip that speaks for four seconds, listens to another voice for four and to nobody for two, as the table has it."""
    spoken, still = 0.12 * syllables(TIMES_S), [0.02] * (len(TIMES_S) + 2 * FPS)
    samples = np.concatenate([synthetic_voice(HALF_S), synthetic_voice(HALF_S), np.zeros(2 * 16_000, np.float32)])
    path = tmp_path_factory.mktemp("clip") / "clip"
    write_clip(path, samples=samples, pictures=mouth_pictures([*spoken, *still]), fps=FPS)
    measured = measure_speech(path, painted_engine()).as_row()
    nothing = dict.fromkeys(SPEECH_INFO.dtypes)
    return SPEECH_INFO.frame([nothing | measured | {"clip_id": "a", "status": "ok"}]).row(0, named=True)


def test_each_part_of_a_clip_has_its_own_speaker(row):
    said = {span: decide(measures_between(row, *span)).reason for span in ((0.0, 4.0), (4.2, 8.0), (8.3, 10.0))}
    assert said == {(0.0, 4.0): "lips_follow_voice", (4.2, 8.0): "lips_still_under_voice", (8.3, 10.0): "no_voice"}


def test_the_whole_clip_measures_as_it_did(row):
    assert measures_between(row, None, None) is row
    again = measures_between(row, 0.0, 10.0)
    for name in ("mouth_range", "mouth_measurable_share", "face_share", "several_faces_share", "lip_audio_correlation"):
        assert again[name] == pytest.approx(row[name], abs=1e-4)
    assert again["voice_spans"] == row["voice_spans"]
    assert again["window_lip_audio_z"] == pytest.approx(row["lip_audio_z"], abs=1e-3)


def test_whose_voice_it_is_the_whole_clip_tells(row):
    speaking, listening = (measures_between(row, *span) for span in ((0.0, 4.0), (4.2, 8.0)))
    assert speaking["lip_audio_z"] == listening["lip_audio_z"] == row["lip_audio_z"]
    assert speaking["window_lip_audio_z"] > 2
    assert (listening["window_lip_audio_z"] or 0) < 1.4


def test_only_what_is_said_in_it_counts(row):
    segments = [{"text": text, "start_s": start, "end_s": start + 2.0} for text, start in (("a", 0.0), ("b", 3.2), ("c", 6.0))]
    told = row | {"segments": [one | dict.fromkeys(("language", "avg_logprob", "no_speech_prob")) for one in segments]}
    assert [one["text"] for one in measures_between(told, 4.0, 9.0)["segments"]] == ["b", "c"]
    assert measures_between(row, 4.0, 9.0)["segments"] is None


def test_without_a_voice_all_looks_stand_for_every_part(row):
    silent = row | {"voice_spans": [], "lip_audio_z": None}
    assert measures_between(silent, 8.5, 10.0) is silent


def test_a_window_is_seen_where_its_voice_was_looked_at(row):
    first_seconds = row | {"mouth_times_s": [time_s for time_s in row["mouth_times_s"] if time_s <= 4.0]}
    for span, seen in (((0.0, 3.9), True), ((2.0, 6.0), False), ((5.0, 7.0), False), ((8.3, 10.0), True), ((0.0, 0.0), True)):
        assert is_seen(first_seconds, Span(*span), FPS) is seen
        assert is_seen(row, Span(*span), FPS)
