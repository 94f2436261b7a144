"""A synthetic voice, clips with known clocks, and an engine whose faces are painted by the test.

Everything is handed out as a fixture, so that no test imports a sibling and any import mode of pytest will do.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import lfilter

from model.face_engine.interface import Box, EngineInfo, Face, Image
from model.face_engine.rotations import rotation_from_angles

RATE_HZ = 16_000
SHARED = Path(__file__).resolve().parents[4] / "shared" / "testdata"


@pytest.fixture(scope="session")
def testdata() -> Path:
    if not SHARED.is_dir():
        pytest.skip("../shared/testdata is absent: the labelled clips and the random Whisper stand only beside the project")
    return SHARED


def _syllables(times_s: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """How far a mouth is open while it says one syllable after the other, 0 to 1: of uneven length and stress, no second like
    another; for 20 s from 2 s before 0 on."""
    rng = np.random.default_rng(seed)
    middles_s, stresses = np.cumsum(rng.uniform(0.2, 0.4, 80)) - 2.0, rng.uniform(0.3, 1.0, 80)
    grid_s = np.arange(-2.0, 20.0, 0.005)
    pulses = stresses[:, None] * np.exp(-(((grid_s - middles_s[:, None]) / 0.07) ** 2))
    return np.interp(times_s, grid_s, pulses.max(axis=0))


def _synthetic_voice(duration_s: float, seed: int = 0) -> NDArray[np.float32]:
    """(N,) at 16 kHz: a glottal sawtooth with vibrato through three moving formants, loud where `_syllables` open the mouth."""
    rng = np.random.default_rng(seed)
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    pitch_hz = 120 + 12 * np.sin(2 * np.pi * 0.6 * times_s) + 2 * np.sin(2 * np.pi * 5 * times_s)
    source = 2 * ((np.cumsum(pitch_hz) / RATE_HZ) % 1.0) - 1 + 0.02 * rng.standard_normal(len(times_s))
    voice = sum(_formant(source, *formant) for formant in _FORMANTS) * (0.15 + _syllables(times_s))
    return (0.5 * voice / np.abs(voice).max()).astype(np.float32)


_FORMANTS = ((550, 250, 1.7, 90), (1500, 500, 1.3, 110), (2600, 200, 0.9, 160))
"""Centre, swing, rate of the swing and bandwidth of each formant, in Hz."""


def _formant(source: NDArray[np.float64], centre_hz: int, swing_hz: int, rate_hz: float, width_hz: int) -> NDArray[np.float64]:
    """`source` through a resonator that moves every 10 ms."""
    block, state, parts = RATE_HZ // 100, np.zeros(2), []
    radius = np.exp(-np.pi * width_hz / RATE_HZ)
    for start in range(0, len(source), block):
        angle = 2 * np.pi * (centre_hz + swing_hz * np.sin(2 * np.pi * rate_hz * start / RATE_HZ)) / RATE_HZ
        part, state = lfilter(
            [1 - radius**2], [1, -2 * radius * np.cos(angle), radius**2], source[start : start + block], zi=state
        )
        parts.append(part)
    return np.concatenate(parts)


def _noise(duration_s: float, seed: int = 0) -> NDArray[np.float32]:
    """(N,) white noise at 16 kHz."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(duration_s * RATE_HZ))).astype(np.float32)


def _write_clip(
    path: Path,
    *,
    samples: NDArray[np.float32] | None = None,
    pictures: NDArray[np.uint8] | None = None,
    fps: int = 25,
    audio_starts_s: float = 0.0,
    picture_starts_s: float = 0.0,
    layout: str = "mono",
    signs: Sequence[float] | None = None,
    rate_hz: int = RATE_HZ,
    gap_s: tuple[float, float] = (0.0, 0.0),
) -> Path:
    """A clip in Matroska, which keeps time stamps and raw samples as they are given.

    Args:
        samples: (N,) of all channels, or (N, channels).
        pictures: (T, H, W, 3).
        signs: what each channel of `layout` has of the samples; all of them the samples themselves by default.
        gap_s: after how much sound, and for how long, no samples come.
    """
    with av.open(str(path), "w", format="matroska") as container:
        video = audio = None
        if pictures is not None:
            video = container.add_stream("ffv1", rate=fps)
            video.height, video.width = pictures.shape[1:3]
            video.pix_fmt = "bgr0"
        if samples is not None:
            audio = container.add_stream("pcm_f32le", rate=rate_hz, layout=layout)
        for i, picture in enumerate(() if pictures is None else pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")
            frame.time_base = Fraction(1, 1000)
            frame.pts = round((picture_starts_s + i / fps) * 1000)
            container.mux(video.encode(frame))
        for start in range(0, 0 if samples is None else len(samples), 1024):
            part = samples[start : start + 1024]
            weights = np.ones(av.AudioLayout(layout).nb_channels) if signs is None else np.asarray(signs)
            spread = (part.reshape(len(part), -1) * weights).astype(np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(spread, format="flt", layout=layout)
            frame.sample_rate = rate_hz
            frame.time_base = Fraction(1, rate_hz)
            after_gap = start >= gap_s[0] * rate_hz
            frame.pts = round((audio_starts_s + (gap_s[1] if after_gap else 0.0)) * rate_hz) + start
            container.mux(audio.encode(frame))
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))
    return path


MOST_OPEN = 0.3
SIDE_PX = 64


def _mouth_pictures(openings: Sequence[float | None], *, faces: int = 1, left_px: int = 16) -> NDArray[np.uint8]:
    """(T, 64, 64, 3) pictures for `PaintedEngine`: red is the opening, green the number of faces, blue where they begin."""
    pictures = np.zeros((len(openings), SIDE_PX, SIDE_PX, 3), np.uint8)
    for picture, opening in zip(pictures, openings, strict=True):
        picture[...] = (0, 0, 0) if opening is None else (round(opening / MOST_OPEN * 255), faces, left_px)
    return pictures


class PaintedEngine:
    """A face engine that reads what `_mouth_pictures` painted, exactly, and counts its detections."""

    info = EngineInfo("painted", "1", 1, "none", "painted", mouth="dlib")

    def __init__(self, yaw_deg: float = 0.0, *, measures_lips: bool = True) -> None:
        self.detections = 0
        self._measures_lips = measures_lips
        self._rotation = rotation_from_angles(yaw_deg, 0, 0).astype(np.float32)

    def detect(self, image_rgb: Image, *, embed: bool = True) -> list[Face]:
        assert not embed
        self.detections += 1
        count, left = (int(value) for value in image_rgb[SIDE_PX // 2, SIDE_PX // 2, 1:])
        return [self._face(image_rgb, (left + i, 16, left + 32 - i, 48)) for i in range(count)]

    def landmarks(self, image_rgb: Image, box: Box | None = None) -> Face | None:
        assert box is not None
        return self._face(image_rgb, box)

    def _face(self, image: Image, box: Box) -> Face:
        red, green, _ = image[image.shape[0] // 2, image.shape[1] // 2]
        opening = float(red) / 255 * MOST_OPEN if green and self._measures_lips else None
        return Face(box, None, np.zeros((0, 2), np.float32), self._rotation, None, opening)


@pytest.fixture(scope="session")
def syllables():
    return _syllables


@pytest.fixture(scope="session")
def synthetic_voice():
    return _synthetic_voice


@pytest.fixture(scope="session")
def noise():
    return _noise


@pytest.fixture(scope="session")
def write_clip():
    return _write_clip


@pytest.fixture(scope="session")
def mouth_pictures():
    return _mouth_pictures


@pytest.fixture(scope="session")
def painted_engine():
    return PaintedEngine
