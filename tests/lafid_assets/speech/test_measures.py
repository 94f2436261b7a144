"""A clip is listened to and looked at where it matters, and its row says what was measured and what was not."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lafid_assets.outcomes import ClipError
from lafid_assets.speech.lips import LipSettings, MouthTrack
from lafid_assets.speech.measures import SpeechSettings, lips_under_voice, measure_speech
from lafid_assets.speech.speaking_status import SpeakingReason, SpeakingStatus, decide
from lafid_assets.speech.synchrony import Envelope
from lafid_assets.speech.transcript import TranscriptSegment
from lafid_assets.speech.voice import Span

FPS = 25
SECONDS = 4
TIMES_S = np.arange(SECONDS * FPS) / FPS


class EchoTranscriber:
    """Says how long the sound was."""

    name = "echo"

    def transcribe(self, audio):
        return [TranscriptSegment(0.0, audio.duration_s, "hello", "en", -0.1, 0.01)]


@pytest.fixture
def clip(tmp_path, write_clip, mouth_pictures, synthetic_voice, noise, syllables):
    """A clip of four seconds by what is heard and how the mouth moves."""

    def build(sound: str, mouth: str, faces: int = 1) -> Path:
        samples = {"voice": synthetic_voice, "noise": noise, "none": lambda _: None}[sound](SECONDS)
        openings = {"speaking": 0.12 * syllables(TIMES_S), "still": 0 * TIMES_S + 0.02, "hidden": [None] * len(TIMES_S)}[mouth]
        path = tmp_path / f"{sound}_{mouth}_{faces}"
        return write_clip(path, samples=samples, pictures=mouth_pictures(openings, faces=faces), fps=FPS)

    return build


EXPECTED = {
    ("voice", "speaking"): (SpeakingStatus.ON_SCREEN, SpeakingReason.LIPS_FOLLOW_VOICE),
    ("voice", "still"): (SpeakingStatus.OFF_SCREEN, SpeakingReason.LIPS_STILL_UNDER_VOICE),
    ("voice", "hidden"): (SpeakingStatus.UNDECIDABLE, SpeakingReason.NO_FACE),
    ("noise", "speaking"): (SpeakingStatus.SILENT, SpeakingReason.NO_VOICE_LIPS_MOVE),
    ("noise", "still"): (SpeakingStatus.SILENT, SpeakingReason.NO_VOICE),
    ("noise", "hidden"): (SpeakingStatus.SILENT, SpeakingReason.NO_VOICE),
    ("none", "speaking"): (SpeakingStatus.NO_AUDIO, SpeakingReason.NO_AUDIO_STREAM),
}


@pytest.mark.parametrize(("sound", "mouth"), list(EXPECTED))
def test_sound_and_mouth_together_tell_who_speaks(clip, painted_engine, sound, mouth):
    row = measure_speech(clip(sound, mouth), painted_engine()).as_row()
    assert decide(row) == EXPECTED[sound, mouth]


class TwentySeconds:
    """Lips and sound of a clip all of which is voice; notes what is looked at."""

    voice = (Span(0.0, 20.0),)

    def __init__(self, syllables, lips: str) -> None:
        rng, times_s = np.random.default_rng(0), np.arange(20 * FPS) / FPS
        said = 0.12 * syllables(times_s - 2)
        another = 0.12 * np.convolve(rng.standard_normal(len(times_s) + 8), np.hanning(9), "valid")
        self._openings = {"in time": said, "another's": -said, "half in time": said + another}[lips]
        self._times_s = times_s
        self.envelope = Envelope(np.interp((np.arange(2000) + 0.5) / 100, times_s, said))
        self.looked: list[Span] = []

    def look(self, spans):
        self.looked += spans
        seen = np.any([(self._times_s >= span.start_s) & (self._times_s <= span.end_s) for span in spans], axis=0)
        times_s = self._times_s[seen]
        return MouthTrack(
            times_s, self._openings[seen], 0 * times_s, np.ones(len(times_s), int), times_s, np.ones(len(times_s), int)
        )


@pytest.mark.parametrize(
    ("lips", "looked"),
    [
        ("in time", [Span(6.0, 14.0)]),
        ("another's", [Span(6.0, 14.0)]),
        ("half in time", [Span(6.0, 14.0), Span(0.0, 6.0), Span(14.0, 20.0)]),
    ],
)
def test_farther_voice_is_looked_at_while_it_is_open_whose_it_is(syllables, lips, looked):
    clip = TwentySeconds(syllables, lips)
    track = lips_under_voice(clip.look, clip.voice, clip.envelope, LipSettings(), Span(7.5, 12.5))
    assert clip.looked == looked
    assert len(track.times_s) == pytest.approx(FPS * sum(span.duration_s for span in looked), abs=3)
    assert (np.diff(track.times_s) >= 0).all()


def test_the_whole_window_is_looked_at_and_no_clip_twice_for_little(syllables):
    clip = TwentySeconds(syllables, "in time")
    lips_under_voice(clip.look, clip.voice, clip.envelope, LipSettings(), Span(4.0, 14.0))
    lips_under_voice(clip.look, clip.voice, clip.envelope, LipSettings(max_duration_s=9.9), Span(9.0, 11.0))
    assert clip.looked == [Span(4.0, 14.0), Span(5.05, 14.95)]


def test_the_row_is_plain_values_under_one_set_of_columns(clip, painted_engine):
    rows = [
        measure_speech(clip(sound, mouth), painted_engine()).as_row()
        for sound, mouth in product(("voice", "noise", "none"), ("speaking", "hidden"))
    ]
    assert all(row.keys() == rows[0].keys() for row in rows)
    for row in rows:
        json.dumps(row, allow_nan=False)


def test_an_engine_that_measures_no_lips_decides_nothing_about_a_voice(clip, painted_engine):
    for mouth in ("speaking", "still"):
        row = measure_speech(clip("voice", mouth), painted_engine(measures_lips=False)).as_row()
        assert row["face_share"] == 1.0
        assert decide(row) == (SpeakingStatus.UNDECIDABLE, SpeakingReason.NO_MOUTH_OPENING)
    silent = measure_speech(clip("noise", "speaking"), painted_engine(measures_lips=False)).as_row()
    assert decide(silent) == (SpeakingStatus.SILENT, SpeakingReason.NO_VOICE)


def test_without_sound_no_picture_is_looked_at(clip, painted_engine):
    engine = painted_engine()
    row = measure_speech(clip("none", "speaking"), engine).as_row()
    assert engine.detections == 0
    assert row["has_audio"] is False
    assert {name for name, value in row.items() if value is not None} == {"has_audio"}


def test_lips_are_looked_at_over_the_voice_only(tmp_path, write_clip, mouth_pictures, synthetic_voice, painted_engine):
    samples = np.concatenate([np.zeros(2 * 16_000, np.float32), synthetic_voice(2.0)])
    path = write_clip(tmp_path / "clip", samples=samples, pictures=mouth_pictures([0.02] * len(TIMES_S)), fps=FPS)
    row = measure_speech(path, painted_engine()).as_row()
    assert row["mouth_times_s"][0] >= row["voice_spans"][0]["start_s"] - 0.001 > 1.5


def test_the_correlation_at_every_offset_is_stored(clip, painted_engine):
    row = measure_speech(clip("voice", "speaking"), painted_engine()).as_row()
    best = max(row["lip_audio_correlations"], key=lambda one: one["correlation"])
    assert (best["correlation"], best["offset_s"]) == (row["lip_audio_correlation"], row["lip_audio_offset_s"])
    assert len(row["lip_audio_correlations"]) == 10
    assert 2 <= len(row["lip_audio_chance"]) <= SECONDS - 1
    assert row["lip_audio_z"] > 3
    assert row["lip_audio_correlation"] > 0.3
    assert abs(row["lip_audio_offset_s"]) <= 0.12
    assert measure_speech(clip("noise", "speaking"), painted_engine()).as_row()["lip_audio_z"] is None


def test_what_was_seen_and_heard_is_kept_moment_by_moment(clip, painted_engine):
    """A second face all along, and a hundred values of sound a second."""
    row = measure_speech(clip("voice", "still", faces=2), painted_engine()).as_row()
    assert len(row["mouth_yaw_deg"]) == len(row["mouth_runs"]) == len(row["mouth_times_s"])
    assert set(row["face_counts"]) == {2}
    assert row["searched_times_s"] == sorted(set(row["mouth_times_s"]) & set(row["searched_times_s"]))
    assert len(row["sound_energy"]) == 100 * SECONDS


def test_the_transcript_is_made_where_a_transcriber_is(clip, painted_engine):
    path = clip("voice", "still")
    row = measure_speech(path, painted_engine(), SpeechSettings(), EchoTranscriber()).as_row()
    assert row["transcriber"] == "echo"
    assert row["segments"][0] == {
        "start_s": 0.0,
        "end_s": pytest.approx(SECONDS),
        "text": "hello",
        "language": "en",
        "avg_logprob": -0.1,
        "no_speech_prob": 0.01,
    }
    assert measure_speech(path, painted_engine()).transcript is None


def test_measuring_twice_gives_the_same(clip, painted_engine):
    path = clip("voice", "speaking")
    assert measure_speech(path, painted_engine()).as_row() == measure_speech(path, painted_engine()).as_row()


def test_broken_file_is_a_clip_error_that_names_it(tmp_path, painted_engine):
    (tmp_path / "cafe").write_bytes(b"")
    with pytest.raises(ClipError, match="cafe"):
        measure_speech(tmp_path / "cafe", painted_engine())


def test_a_still_portrait_under_a_voice_is_off_screen(tmp_path, write_clip, synthetic_voice):
    """The real engine on a public-domain portrait that sways and is noisy: its closed mouth is seen to be still."""
    from skimage.data import astronaut

    from model.face_engine.dlib_engine import DlibEngine

    portrait, rng = astronaut()[:400, 60:400], np.random.default_rng(0)
    pictures = []
    for i in range(2 * FPS):
        across, down = round(10 + 10 * np.sin(i / 9)), round(10 + 8 * np.sin(i / 13))
        noisy = portrait[down : down + 320, across : across + 320] + rng.normal(0, 4, (320, 320, 3))
        pictures.append(noisy.clip(0, 255).astype(np.uint8))
    path = write_clip(tmp_path / "clip", samples=synthetic_voice(2.0), pictures=np.stack(pictures), fps=FPS)
    row = measure_speech(path, DlibEngine()).as_row()
    assert row["mouth_measurable_share"] > 0.9
    assert decide(row) == (SpeakingStatus.OFF_SCREEN, SpeakingReason.LIPS_STILL_UNDER_VOICE)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("derived_closed_mouth_offscreen_speech", SpeakingStatus.OFF_SCREEN),
        ("liveportrait_d20", SpeakingStatus.ON_SCREEN),
        ("derived_talking_face_silent_audio", SpeakingStatus.SILENT),
        ("derived_two_persons_side_by_side_speech", SpeakingStatus.UNDECIDABLE),
    ],
)
def test_labelled_clips(testdata, name, status):
    from model.face_engine.dlib_engine import DlibEngine

    row = measure_speech(testdata / "clips" / f"{name}.mp4", DlibEngine()).as_row()
    assert decide(row).status is status
