"""The sound lies on the clock of the pictures, whatever the container does."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lafid_assets.ingest.packets import read_index
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.shots.boundaries import CUT_SCORES
from lafid_assets.shots.pieces import split_at_cuts
from lafid_assets.speech.audio import SAMPLE_RATE_HZ, decode_audio
from model.encoding.footage import Piece, footage_in

RATE_HZ = 16_000
PICTURES = np.zeros((25, 64, 64, 3), np.uint8)


def click(at_s: float, duration_s: float = 2.0, rate_hz: int = RATE_HZ) -> np.ndarray:
    """Silence with 10 ms of full level at `at_s`."""
    samples = np.zeros(round(duration_s * rate_hz), np.float32)
    samples[round(at_s * rate_hz) : round((at_s + 0.01) * rate_hz)] = 0.9
    return samples


def transport_stream(
    path: Path, bang_s: float | None, sound_s: float = 1.0, pictures_s: float = 1.0, from_s: tuple[float, float] = (0.0, 0.0)
) -> bytes:
    """Black H.264, and AAC that is silent but for 50 ms of noise (None: no sound); `from_s`: where pictures and sound begin."""
    with av.open(str(path), "w", format="mpegts") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = 64, 64, "yuv420p"
        audio = None if bang_s is None else container.add_stream("aac", rate=RATE_HZ, layout="mono")
        packets = []
        for number in range(round(25 * pictures_s)):
            picture = av.VideoFrame.from_ndarray(PICTURES[0], format="rgb24")
            picture.pts, picture.time_base = number + round(25 * from_s[0]), Fraction(1, 25)
            packets += video.encode(picture)
        if audio is not None:
            samples = np.zeros(round(RATE_HZ * sound_s), np.float32)
            samples[round(bang_s * RATE_HZ) :][:800] = np.random.default_rng(0).uniform(-0.9, 0.9, 800)
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, round(RATE_HZ * from_s[1]), Fraction(1, RATE_HZ)
            packets += [*audio.encode(frame), *audio.encode(None)]
        container.mux([*packets, *video.encode(None)])
    return path.read_bytes()


def onset_s(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(samples) > 0.3)) / SAMPLE_RATE_HZ


@pytest.mark.parametrize(
    ("audio_starts_s", "picture_starts_s", "expected_s"),
    [(0.0, 0.0, 1.0), (0.4, 0.0, 1.4), (0.0, 0.8, 0.2), (0.2, 1.0, 0.2), (5.0, 5.2, 0.8)],
)
def test_first_sample_lies_at_the_first_picture(tmp_path, write_clip, audio_starts_s, picture_starts_s, expected_s):
    path = write_clip(
        tmp_path / "clip",
        samples=click(1.0),
        pictures=PICTURES,
        audio_starts_s=audio_starts_s,
        picture_starts_s=picture_starts_s,
    )
    audio = decode_audio(path)
    assert onset_s(audio.samples) == pytest.approx(expected_s, abs=0.002)
    assert audio.duration_s == pytest.approx(2.0 + audio_starts_s - picture_starts_s, abs=0.002)


def test_sound_that_ends_before_the_first_picture_is_empty(tmp_path, write_clip):
    path = write_clip(tmp_path / "clip", samples=click(0.1, 0.5), pictures=PICTURES, picture_starts_s=2.0)
    assert decode_audio(path).duration_s == 0


def test_sound_without_pictures_begins_at_its_own_start(tmp_path, write_clip):
    audio = decode_audio(write_clip(tmp_path / "clip", samples=click(1.0), audio_starts_s=3.0))
    assert onset_s(audio.samples) == pytest.approx(1.0, abs=0.002)


def test_missing_samples_become_silence(tmp_path, write_clip):
    """Two stretches of sound in one stream, half a second apart on the clock: the second stays where it belongs."""
    path = write_clip(tmp_path / "clip", samples=click(1.2, 2.0), pictures=PICTURES, gap_s=(1.0, 0.5))
    audio = decode_audio(path)
    assert onset_s(audio.samples) == pytest.approx(1.7, abs=0.002)
    assert audio.duration_s == pytest.approx(2.5, abs=0.002)


@pytest.mark.parametrize("layout", ["mono", "stereo", "3.0", "quad", "5.1", "7.1"])
def test_every_layout_becomes_mono_at_the_same_level(tmp_path, write_clip, synthetic_voice, layout):
    voice = synthetic_voice(0.5)
    audio = decode_audio(write_clip(tmp_path / "clip", samples=voice, pictures=PICTURES, layout=layout))
    assert audio.samples.dtype == np.float32
    assert audio.samples.ndim == 1
    assert np.abs(audio.samples).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("layout", "signs", "share"),
    [
        ("stereo", (1.0, -1.0), 1.0),
        ("stereo", (-0.6, 0.65), 0.65),
        ("5.1", (1.0, -1.0, 0.0, 0.0, 0.0, 0.0), 1.0),
        ("stereo", (1.0, 0.0), 0.5),
        ("stereo", (1.0, 1.0), 1.0),
    ],
)
def test_channels_of_opposite_phase_are_heard_and_others_are_mixed(tmp_path, write_clip, synthetic_voice, layout, signs, share):
    voice = synthetic_voice(1.5)
    audio = decode_audio(write_clip(tmp_path / "clip", samples=voice, pictures=PICTURES, layout=layout, signs=signs))
    assert np.allclose(np.abs(audio.samples), share * np.abs(voice), atol=2e-4)


@pytest.mark.parametrize("under_db", [30, 18, 12, 6])
def test_a_voice_of_opposite_phase_is_heard_over_what_is_in_phase(tmp_path, write_clip, synthetic_voice, noise, under_db):
    voice, hum = synthetic_voice(2.0), noise(2.0)
    hum *= 10 ** (-under_db / 20) * np.sqrt((voice**2).mean() / (hum**2).mean())
    path = write_clip(tmp_path / "clip", samples=np.stack([hum + voice, hum - voice], axis=1), pictures=PICTURES, layout="stereo")
    seconds = [one.reshape(2, -1) for one in (decode_audio(path).samples, voice)]
    assert all(abs(np.corrcoef(heard, said)[0, 1]) > 0.85 for heard, said in zip(*seconds, strict=True)), "through either channel"


@pytest.mark.parametrize("second", [0.0, 0.3, 1.0])
def test_channels_with_nothing_in_common_are_mixed(tmp_path, write_clip, noise, second):
    """Two microphones, or one of them: what either hears is kept."""
    left, right = noise(2.0, 1), second * noise(2.0, 2)
    path = write_clip(tmp_path / "clip", samples=np.stack([left, right], axis=1), pictures=PICTURES, layout="stereo")
    assert np.allclose(decode_audio(path).samples, (left + right) / 2, atol=2e-4)


def test_opposite_channels_beside_pictures_are_heard(zoo):
    audio = decode_audio(zoo.root / zoo.exhibits["anti_phase"].path)
    assert np.abs(audio.samples).max() == pytest.approx(8000 / 2**15, abs=0.01)


@pytest.mark.parametrize("unknown", [1, 2])
def test_the_first_track_with_a_decoder_is_heard(tmp_path, unknown):
    """Two tracks, a click at 0.2 and one at 0.7 s, of which the first ones are in a format that nobody here reads."""
    path = tmp_path / "clip"
    with av.open(str(path), "w", format="matroska") as container:
        tracks = [container.add_stream("pcm_f32le", rate=RATE_HZ, layout="mono") for _ in range(2)]
        for track, at_s in zip(tracks, (0.2, 0.7), strict=True):
            frame = av.AudioFrame.from_ndarray(click(at_s, 1.0)[None], format="flt", layout="mono")
            frame.sample_rate = RATE_HZ
            container.mux([*track.encode(frame), *track.encode(None)])
    path.write_bytes(path.read_bytes().replace(b"A_PCM/FLOAT/IEEE", b"A_NEW/FLOAT/IEEE", unknown))
    if unknown == 2:
        with pytest.raises(ClipError, match="no audio track has a decoder"):
            decode_audio(path)
    else:
        assert onset_s(decode_audio(path).samples) == pytest.approx(0.7, abs=0.002)


Spans = Sequence[tuple[float, float]]
ALL = [(0.0, 5.0)]


def damaged_track(container: Any, codec: str, clicks_s: Sequence[float], lost_s: Spans, fill: bytes) -> list[av.Packet]:
    """Clicks in four seconds of sound, whose packets within some seconds hold nothing but `fill`."""
    track = container.add_stream(codec, rate=48_000, layout="mono")
    kind, size = track.codec_context.format.name, track.codec_context.frame_size or 1024
    sound = np.max([click(at_s, 4.0, 48_000) for at_s in clicks_s], axis=0)
    packets = []
    for start in range(0, len(sound), size):
        part = sound[start : start + size]
        samples = (part * (2**15 - 1)).astype(np.int16) if kind.startswith("s16") else part
        frame = av.AudioFrame.from_ndarray(samples[None], format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        packets += track.encode(frame)
    packets += track.encode(None)
    for number, whole in enumerate(packets):
        at_s = float(whole.pts * whole.time_base)
        if any(from_s <= at_s < until_s for from_s, until_s in lost_s):
            packets[number] = av.Packet((fill * whole.size)[: whole.size])
            for name in ("stream", "pts", "dts", "time_base", "duration"):
                setattr(packets[number], name, getattr(whole, name))
    return packets


@pytest.mark.parametrize(
    ("form", "codec"),
    [("mp4", "aac"), ("matroska", "aac"), ("matroska", "mp2"), ("matroska", "flac"), ("mpegts", "ac3"), ("avi", "mp2")],
)
@pytest.mark.parametrize("fill", [b"\0", b"\x93\x1c\xf7"])
def test_a_damaged_packet_costs_itself(tmp_path, form, codec, fill):
    """Clicks before and between them stay where they are, but for less than a packet."""
    path = tmp_path / "clip"
    with av.open(str(path), "w", format=form) as container:
        container.mux(damaged_track(container, codec, (0.2, 1.5, 3.0), [(0.5, 0.8), (2.0, 2.1)], fill))
    heard = decode_audio(path).samples
    for after_s, at_s in ((0.0, 0.2), (1.0, 1.5), (2.5, 3.0)):
        assert after_s + onset_s(heard[round(after_s * SAMPLE_RATE_HZ) :]) == pytest.approx(at_s, abs=0.03)


@pytest.mark.parametrize("lost_s", [ALL, [(0.3, 5.0)]], ids=["all of it", "most of it"])
@pytest.mark.parametrize("also_lost_s", [[], ALL], ids=["whole", "damaged, too"])
def test_a_damaged_track_gives_way_to_the_next_one(tmp_path, lost_s, also_lost_s):
    path = tmp_path / "clip"
    with av.open(str(path), "w", format="matroska") as container:
        tracks = [
            damaged_track(container, "aac", (0.1,), lost_s, b"\0"),
            damaged_track(container, "aac", (1.5,), also_lost_s, b"\0"),
        ]
        for packets in zip(*tracks, strict=True):
            container.mux(packets)
    if also_lost_s:
        with pytest.raises(ClipError, match=r"of \d+ packets of its sound cannot be decoded") as caught:
            decode_audio(path)
        assert caught.value.reason == Reason.AUDIO_UNREADABLE
    else:
        assert onset_s(decode_audio(path).samples) == pytest.approx(1.5, abs=0.002)


def test_other_rates_keep_their_time(tmp_path, write_clip):
    path = write_clip(tmp_path / "clip", samples=click(1.0, 2.0, 44_100), rate_hz=44_100, pictures=PICTURES)
    audio = decode_audio(path)
    assert onset_s(audio.samples) == pytest.approx(1.0, abs=0.002)
    assert audio.duration_s == pytest.approx(2.0, abs=0.002)


def test_no_audio_stream_is_none(tmp_path, write_clip):
    assert decode_audio(write_clip(tmp_path / "clip", pictures=PICTURES)) is None


@pytest.mark.parametrize("content", [b"", b"not a video" * 100])
def test_unreadable_file_is_a_clip_error_that_names_it(tmp_path, content):
    path = tmp_path / "0123abcd"
    path.write_bytes(content)
    with pytest.raises(ClipError, match="0123abcd") as caught:
        decode_audio(path)
    assert caught.value.reason is Reason.AUDIO_UNREADABLE
    assert str(tmp_path) not in str(caught.value)


def test_missing_file_is_a_clip_error(tmp_path):
    with pytest.raises(ClipError, match="gone"):
        decode_audio(tmp_path / "gone")


def test_time_stamps_that_run_for_hours_are_refused(tmp_path, write_clip):
    path = write_clip(tmp_path / "clip", samples=click(1.0), pictures=PICTURES, audio_starts_s=20_000.0)
    with pytest.raises(ClipError, match="time stamps"):
        decode_audio(path)


def test_shared_clip_with_a_late_picture(testdata: Path):
    """Its pictures begin 0.844 s after its sound: that much sound is cut off."""
    audio = decode_audio(testdata / "clips" / "facerec_short_hamilton.mp4")
    assert audio.duration_s == pytest.approx(10.0078 - 0.844, abs=0.01)


@pytest.mark.parametrize(("first", "last", "expected_s"), [(30, 49, 0.6), (0, 49, 1.8), (46, 59, None)])
def test_a_piece_is_heard_with_its_own_pictures_alone(tmp_path, write_clip, first, last, expected_s):
    """Sound that begins half a second after pictures that begin at one second; a click at 1.8 s of the clip's clock."""
    path = write_clip(
        tmp_path / "clip",
        samples=click(1.3, 2.0),
        pictures=np.zeros((60, 64, 64, 3), np.uint8),
        audio_starts_s=1.5,
        picture_starts_s=1.0,
    )
    pts = read_index(path).pts
    audio = decode_audio(Piece(path, pts[first], pts[last], pts[0]))
    assert audio.duration_s == pytest.approx((last - first + 1) / 25, abs=0.002)
    if expected_s is None:
        assert np.abs(audio.samples).max() < 0.01
    else:
        assert onset_s(audio.samples) == pytest.approx(expected_s, abs=0.002)


@pytest.fixture
def joined(tmp_path: Path) -> Callable[..., tuple[Path, list[Piece]]]:
    """Writes transport streams one behind the other; the file, and its pieces as curation cuts it where pictures begin anew."""

    def join(*parts: dict[str, object]) -> tuple[Path, list[Piece]]:
        path = tmp_path / "clip.ts"
        path.write_bytes(b"".join(transport_stream(tmp_path / "part.ts", **part) for part in parts))
        return path, [footage_in(path, row) for row in split_at_cuts(read_index(path), [], CUT_SCORES)]

    return join


@pytest.mark.parametrize(
    "parts",
    [
        [{"bang_s": 0.3}, {"bang_s": 0.7}],
        [{"bang_s": None}, {"bang_s": 0.7}],
        [{"bang_s": 0.3}, {"bang_s": None}],
        [{"bang_s": 0.3}, {"bang_s": None}, {"bang_s": 0.7}],
        [{"bang_s": 0.1, "sound_s": 0.3}, {"bang_s": 0.7}],
        [{"bang_s": 0.3, "sound_s": 2.5}, {"bang_s": 0.7}],
        [{"bang_s": 0.1, "sound_s": 0.4}, {"bang_s": 0.2, "from_s": (0.0, 0.5)}],
    ],
)
def test_each_run_of_a_clock_that_begins_anew_has_its_own_sound_or_none(joined, parts):
    """Sound begins anew as often as the pictures, less often, ends sooner, goes on longer, begins late."""
    _, pieces = joined(*parts)
    assert len(pieces) == len(parts)
    for piece, part in zip(pieces, parts, strict=True):
        audio = decode_audio(piece)
        if part["bang_s"] is None:
            assert audio is None
        else:
            at_s = part["bang_s"] + part.get("from_s", (0.0, 0.0))[1]
            assert onset_s(audio.samples) == pytest.approx(at_s, abs=0.02)
            assert audio.duration_s <= 1.1


def test_sound_that_goes_on_where_pictures_begin_anew_is_nobodys(joined):
    _, pieces = joined(
        {"bang_s": 0.3, "sound_s": 3.0, "pictures_s": 3.0},
        {"bang_s": 0.7, "sound_s": 3.0, "pictures_s": 3.0, "from_s": (0.0, 3.1)},
    )
    assert len(pieces) == 2
    for piece in pieces:
        with pytest.raises(ClipError, match="goes on where its pictures begin anew") as caught:
            decode_audio(piece)
        assert caught.value.reason == Reason.AUDIO_UNREADABLE


def test_sound_on_another_clock_than_its_pictures_is_nobodys(joined):
    _, (first, second) = joined({"bang_s": 0.3}, {"bang_s": 0.7, "from_s": (0.0, 20.0)})
    assert onset_s(decode_audio(first).samples) == pytest.approx(0.3, abs=0.02)
    with pytest.raises(ClipError, match="the clock of its sound is not that of its pictures"):
        decode_audio(second)


def test_sound_that_begins_anew_under_pictures_that_go_on_is_refused(joined):
    path, pieces = joined(
        {"bang_s": 0.3, "sound_s": 2.0, "pictures_s": 2.0}, {"bang_s": 0.7, "sound_s": 2.0, "from_s": (2.0, 0.0)}
    )
    assert not pieces, "the pictures go on"
    with pytest.raises(ClipError, match="its sound begins anew where its pictures do not"):
        decode_audio(path)


def test_a_piece_that_its_file_does_not_have_is_refused(joined):
    path, _ = joined({"bang_s": 0.3}, {"bang_s": 0.7})
    with pytest.raises(ClipError, match="the first picture of its part is not found"):
        decode_audio(Piece(path, 7, 10, None))
