"""Whether the lips go with the sound, judged against chance.

Belongs here: the sound's envelope, its correlation with the mouth's opening, and how far that lies above what the same lips
reach with the same sound elsewhere. Not here: how much the mouth moves (`model.face_engine.mouth.movement`), what follows
(`speaking_status`).

Any voice opens and closes at the pace of any mouth, so a correlation alone says little: `Synchrony.z` holds it against that of
the same lips with the same sound shifted by whole seconds. `benchmarks/sync.py` measures how well it tells speakers from dubs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from lafid_assets.speech.audio import Audio
from lafid_assets.speech.lips import MouthTrack

BANDS_HZ = (1500.0, 2200.0, 3000.0, 3800.0)
"""Edges of the three bands where the mouth's opening shapes the sound most: the second and third formants (Chandrasekaran et al.
2009, The natural statistics of audiovisual speech, PLoS Comput Biol 5:7). Over 26 speakers their mean tells a little more than
one band; weights learnt over nine bands from the other speakers tell no more, and the width of the mouth tells less."""
OFFSETS_S = tuple(round(-0.08 + 0.04 * step, 2) for step in range(10))
"""By how much the sound may come after the lips: they lead by 0.1 to 0.3 s, and a muxer may be out by a picture or two."""
_DRIFT_S = 1.0
"""Longer than a syllable, shorter than a turn of the head or a fade: what changes within it is articulation."""
_ENVELOPE_HZ = 100
_FRAME_S = 0.025
_FRAMES_AT_ONCE = 1000
"""Those of an hour would take gigabytes."""
_FLOOR_SHARE = 0.01
"""Of a band's energy where it is loud: what lies under it is pause, and its logarithm would wander with the noise."""
_MOST_SHIFTS = 16
_FEWEST_SHIFTS = 2
_SHORTEST_PAIRED_S = 2.0
"""Over less, unrelated signals correlate by chance."""
_SPREAD_OF_1_S = 0.2
"""Spread of the best correlation by chance over one second of lips; it falls with the root of their length."""
_SPREAD_WEIGHT = 4.0
"""How many shifts that expectation counts as: a spread from a handful of shifts alone is a matter of luck."""
_LEAST_DEVIATION = 1e-5
"""Below it a signal is constant but for rounding."""


@dataclass(frozen=True)
class OffsetCorrelation:
    """Pearson correlation of opening and envelope at one offset (> 0: the sound comes later)."""

    offset_s: float
    correlation: float


@dataclass(frozen=True)
class Synchrony:
    """How well lips and sound go together.

    Attributes:
        correlations: at all offsets, in rising order of offset; at least one.
        chance: the best correlation of the same lips with the sound shifted by 1, 2, ... s; fewer where the sound is short.
        observed_s: how long lips and sound were compared.
    """

    correlations: tuple[OffsetCorrelation, ...]
    chance: tuple[float, ...]
    observed_s: float

    @property
    def best(self) -> OffsetCorrelation:
        """The highest; the earliest of equal ones."""
        return max(self.correlations, key=lambda one: one.correlation)

    @cached_property
    def z(self) -> float | None:
        """How far the best correlation lies above chance, in spreads of chance; None with too few shifts to know it."""
        if len(self.chance) < _FEWEST_SHIFTS:
            return None
        deviations = np.asarray(self.chance) - np.mean(self.chance)
        expected = _SPREAD_OF_1_S**2 / self.observed_s
        variance = (deviations @ deviations + _SPREAD_WEIGHT * expected) / (len(deviations) - 1 + _SPREAD_WEIGHT)
        return float((self.best.correlation - np.mean(self.chance)) / np.sqrt(variance))


@dataclass(frozen=True, eq=False)
class Envelope:
    """Mean logarithm of the energies of `BANDS_HZ`, (N,), every 10 ms; the first value is that of 0 to 10 ms."""

    values: NDArray[np.float64]

    @property
    def duration_s(self) -> float:
        """How long the sound is."""
        return len(self.values) / _ENVELOPE_HZ

    def at(self, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values at (...) times, interpolated; after its end the sound begins anew."""
        index = (times_s % self.duration_s) * _ENVELOPE_HZ - 0.5
        return np.interp(index, np.arange(len(self.values)), self.values)


def envelope_of(audio: Audio) -> Envelope:
    """The sound as lips may follow it; empty without a sample."""
    hop, width = audio.sample_rate_hz // _ENVELOPE_HZ, round(_FRAME_S * audio.sample_rate_hz)
    count = len(audio.samples) // hop
    window = np.hanning(width)
    in_bands = _in_bands(width, audio.sample_rate_hz)
    padded = np.pad(audio.samples, width)
    energies = np.empty((count, len(BANDS_HZ) - 1))
    for start in range(0, count, _FRAMES_AT_ONCE):
        middles = np.arange(start, min(start + _FRAMES_AT_ONCE, count)) * hop + hop // 2 + width // 2
        spectra = np.fft.rfft(padded[middles[:, None] + np.arange(width)] * window, axis=1)
        energies[start : start + _FRAMES_AT_ONCE] = np.abs(spectra) ** 2 @ in_bands
    loud = np.percentile(energies, 90, axis=0) if count else 0.0
    return Envelope(np.log(energies + _FLOOR_SHARE * loud + np.finfo(np.float64).tiny).mean(axis=1))


def lip_sync(track: MouthTrack, envelope: Envelope) -> Synchrony | None:
    """How well the opening follows the sound, and how well by chance. None where too little can be compared.

    Both signals lose their mean over a second first, so that head turns and fades do not count.
    """
    known = np.isfinite(track.openings)
    if not known.any() or not envelope.duration_s:
        return None
    times_s, run = track.times_s[known], track.run[known]
    without_drift = _without_drift(times_s, run)
    opening = without_drift @ track.openings[known]
    observed_s = float(sum(np.ptp(times_s[run == one]) for one in np.unique(run)))
    if observed_s < _SHORTEST_PAIRED_S or opening.std() < _LEAST_DEVIATION:
        return None

    def correlations(shift_s: float) -> NDArray[np.float64]:
        """(O,) at every offset; NaN where the sound does not change."""
        heard = envelope.at(times_s + shift_s + np.array(OFFSETS_S)[:, None]) @ without_drift.T
        spread = heard.std(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (
                (heard - heard.mean(axis=1, keepdims=True)) @ (opening - opening.mean()) / (spread * opening.std() * len(opening))
            )
        return np.where(spread < _LEAST_DEVIATION, np.nan, found)

    here = correlations(0.0)
    if not np.isfinite(here).any():
        return None
    elsewhere = [found[np.isfinite(found)] for found in map(correlations, _shifts_s(envelope.duration_s))]
    return Synchrony(
        tuple(OffsetCorrelation(o, float(c)) for o, c in zip(OFFSETS_S, here, strict=True) if np.isfinite(c)),
        tuple(float(found.max()) for found in elsewhere if len(found)),
        observed_s,
    )


def _shifts_s(duration_s: float) -> list[float]:
    """Whole seconds by which a sound of that length is shifted, at least one from where it belongs in both directions."""
    longest = int(duration_s - 1.0)
    if longest <= _MOST_SHIFTS:
        return [float(shift) for shift in range(1, longest + 1)]
    half = _MOST_SHIFTS // 2
    return [float(shift) for shift in range(-half, half + 1) if shift]


def _without_drift(times_s: NDArray[np.float64], run: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, N) that takes from each value the mean of its run over the second around it."""
    near = (np.abs(times_s[:, None] - times_s) <= _DRIFT_S / 2) & (run[:, None] == run)
    return np.eye(len(times_s)) - near / near.sum(axis=1, keepdims=True)


def _in_bands(width: int, rate_hz: int) -> NDArray[np.float64]:
    """(F, B), 1 where a frequency of the spectrum of `width` samples lies in a band."""
    band = np.digitize(np.fft.rfftfreq(width, 1 / rate_hz), BANDS_HZ) - 1
    return (band[:, None] == np.arange(len(BANDS_HZ) - 1)).astype(np.float64)
