"""Cuts and gradual transitions: how much more a picture changes across a moment than around it.

Belongs here: small pictures -> boundaries with scores, without any input or output. Not here: the pictures (`search`), from which
score on a clip is cut (`pieces`, the face policy).

Two pictures differ by what is left of one's luma when the other's, made brighter or darker and of more or less contrast, is
taken away, and by their colours: a lamp that is switched on is no cut. A flash is none, because the pictures on its sides are
alike; a fade through black is one where they are not. A score is a ratio without unit: the difference across the moment over
that around it. In a film that is full of motion a cut must be the larger, in a quiet one noise is not enough (`FLOOR`).
"""

from bisect import bisect_left
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

FLOOR, FLOOR_GRADUAL = 4.0, 8.0
"""Grey levels that are added to what changes around a moment: the noise of cameras and encoders, and small movements that look
like a mixture at this size."""
NEIGHBOURS = 3
"""Steps before and behind a cut that it is compared with; one of the six may be another cut."""
NEAR_S = 0.25
"""Farther steps are no neighbours."""
FLASH_S = 0.25
"""What is seen no longer than this, with the same pictures before and behind it, is a flash and no shot."""
REPEATED = 0.5
"""Grey levels; a step of fewer shows the same picture again. Such steps are passed over: where 15 pictures a second are stored as
60, every movement would look like a cut beside them."""
TRANSITIONS_S = (0.25, 0.5, 1.0, 1.5)
"""Lengths of the stretches that gradual transitions are looked for in."""
FADE_S = 4.0
"""A fade out and the fade in behind it take no longer, what is shown in between included."""
DIP_S = 1.0
"""A fade that takes no longer and leads back to the same pictures is no cut, nor is half of it."""
EMPTY = 10.0
"""Grey levels, root mean square; a picture of less contrast may be what is left of one in a fade."""
FADED = 0.25
"""In a fade contrast falls below this share of what it is on either side."""
LEAST_STRETCH = 4
"""Frames; a shorter stretch is one of the hard cuts."""
PICTURES_AT_A_TIME = 2048
"""Pictures that are compared together: a recording of hours takes no more memory than one of minutes."""
STORED_FROM = 1.0
"""Lower scores are not worth keeping: no policy could believe them."""


class Kind(StrEnum):
    """How one shot goes over into the next."""

    HARD = "hard"
    GRADUAL = "gradual"


CUT_SCORES = {Kind.HARD: 2.1, Kind.GRADUAL: 1.75}
"""Above these a boundary is a cut, where nobody says otherwise."""


@dataclass(frozen=True)
class Boundary:
    """One boundary, by places in the sequence of pictures.

    Attributes:
        first: the last picture of the shot before.
        last: the first picture of the shot behind; of a hard cut the very next one.
    """

    kind: Kind
    first: int
    last: int
    score: float


class BoundarySearch:
    """Looks for boundaries in pictures that come one by one, in memory that does not grow with their number.

    Args:
        rate_hz: pictures a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._lengths = sorted({length for length_s in TRANSITIONS_S if (length := round(length_s * rate_hz)) >= LEAST_STRETCH})
        self._near = max(NEIGHBOURS, round(NEAR_S * rate_hz))
        self._flash = max(1, int(FLASH_S * rate_hz))
        self._fade = round(FADE_S * rate_hz)
        self._dip = round(DIP_S * rate_hz)
        self._around = 2 * self._fade + self._near + 2
        self._held: list[NDArray[np.uint8]] = []
        self._begin = self._searched = 0
        self._found: list[tuple[int, Boundary]] = []

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Take the next picture, (3, H, W): luma and colour differences."""
        self._held.append(picture)
        if len(self._held) >= PICTURES_AT_A_TIME + 2 * self._around:
            self._search(self._begin + len(self._held) - self._around)

    def finish(self) -> list[Boundary]:
        """All boundaries with a score of `STORED_FROM` and more, in order of time. Of several that overlap, cuts between two
        frames come first, then fades, what is nearly such a cut, and mixtures; of one rank the higher score."""
        self._search(self._begin + len(self._held))
        chosen: list[Boundary] = []
        for _, found in sorted(self._found, key=lambda ranked: (ranked[0], -ranked[1].score, ranked[1].first)):
            behind = bisect_left(chosen, found.last, key=lambda one: one.first)
            if behind == 0 or chosen[behind - 1].last <= found.first:
                chosen.insert(behind, found)
        return [one for one in chosen if one.score >= STORED_FROM]

    def _search(self, until: int) -> None:
        """Take what begins before the place `until`, and keep the pictures that what comes will be compared with."""
        if len(self._held) > 1:
            shots = _Pictures(np.stack(self._held))
            fades = _faded(shots, self._fade, self._near)
            ranked = [
                *((0 if _is_cut(one) else 2, one) for one in _hard(shots, self._near, self._flash)),
                *((1 if _is_cut(one) or one.last - one.first <= self._dip else 3, one) for one in fades),
                *((3, one) for length in self._lengths for one in _mixed(shots, length)),
            ]
            placed = [(rank, replace(one, first=one.first + self._begin, last=one.last + self._begin)) for rank, one in ranked]
            self._found += [(rank, one) for rank, one in placed if self._searched <= one.first < until]
        self._searched = until
        gone = max(0, until - self._around - self._begin)
        del self._held[:gone]
        self._begin += gone


def _is_cut(found: Boundary) -> bool:
    return found.score > CUT_SCORES[found.kind]


def find_boundaries(pictures: NDArray[np.uint8], rate_hz: float) -> list[Boundary]:
    """The boundaries in pictures, (T, 3, H, W), that are all there, as `BoundarySearch` finds them."""
    search = BoundarySearch(rate_hz)
    for picture in pictures:
        search.add(picture)
    return search.finish()


class _Pictures:
    """Pictures ready to be compared: luma apart from its mean, and colours."""

    def __init__(self, pictures: NDArray[np.uint8]) -> None:
        self.count = len(pictures)
        luma = pictures[:, 0].reshape(self.count, -1).astype(np.float32)
        self.luma = luma - luma.mean(axis=1, keepdims=True)
        self.colour = pictures[:, 1:].reshape(self.count, -1)
        self.energy = np.square(self.luma).mean(axis=1)

    def differences(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
        """Grey levels by which the pictures `a` and `b` differ, pair by pair."""
        shared = np.square((self.luma[a] * self.luma[b]).mean(axis=1))
        energy_a, energy_b = self.energy[a], self.energy[b]
        explained = np.minimum(shared / np.maximum(energy_a * energy_b, 1e-6), 1.0)
        structure = np.sqrt(np.maximum(energy_a, energy_b) * (1 - explained))
        colour = np.abs(self.colour[a].astype(np.int16) - self.colour[b]).mean(axis=1)
        return np.asarray(structure + colour, np.float32)


def _hard(pictures: _Pictures, near: int, flash: int) -> list[Boundary]:
    """Cuts, from what changes there and in the changes next to it, no more than `near` steps away. A flash of up to `flash`
    pictures has none."""
    steps = np.arange(pictures.count - 1)
    step = pictures.differences(steps, steps + 1)
    changes = np.flatnonzero(step >= REPEATED)
    if not len(changes):
        return []
    places = np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    neighbours = np.pad(changes, NEIGHBOURS, mode="reflect")[np.arange(len(changes))[:, None] + NEIGHBOURS + places[places != 0]]
    away = np.abs(neighbours - changes[:, None])
    is_other = (away > 0) | (len(changes) > NEIGHBOURS)  # so few are reflected onto themselves several times
    around = np.where(is_other & (away <= near), step[neighbours], 0)
    usual = np.sort(around, axis=1)[:, -2] + FLOOR
    cuts = step[changes] / usual >= STORED_FROM
    changes, usual = changes[cuts], usual[cuts]
    score = _across(pictures, changes, flash) / usual
    found = zip(changes.tolist(), score.tolist(), strict=True)
    return [Boundary(Kind.HARD, at, at + 1, of) for at, of in found if of >= STORED_FROM]


def _across(pictures: _Pictures, steps: NDArray[np.int64], flash: int) -> NDArray[np.float32]:
    """Grey levels by which what is before each step differs from what is behind it: the least of all pairs of pictures with
    no more than `flash` between them."""
    least = np.full(len(steps), np.inf, np.float32)
    for back in range(flash + 1 if len(steps) else 0):
        before = np.maximum(steps - back, 0)
        for on in range(flash + 1 - back):
            behind = np.minimum(steps + 1 + on, pictures.count - 1)
            least = np.minimum(least, pictures.differences(before, behind))
    return least


def _mixed(pictures: _Pictures, length: int) -> list[Boundary]:
    """Transitions within a stretch of `length` frames: the pictures in it are mixtures of its ends, and on either side, over as
    many frames, little changes."""
    first = np.arange(1, pictures.count - length - 1)
    if not len(first):
        return []
    last = first + length
    across = pictures.differences(first, last)
    before = pictures.differences(np.maximum(first - length, 0), first)
    behind = pictures.differences(last, np.minimum(last + length, pictures.count - 1))
    score = across / (np.maximum(before, behind) + FLOOR_GRADUAL)
    found = []
    for at in np.flatnonzero(score >= STORED_FROM):
        rest, share = _as_mixtures(pictures, int(first[at]), int(last[at]))
        strict = float(across[at] / (max(before[at], behind[at], rest) + FLOOR_GRADUAL))
        if strict >= STORED_FROM:
            begins = int(first[at] + np.flatnonzero(share <= 0.05)[-1])
            ends = int(first[at] + np.flatnonzero(share >= 0.95)[0])
            found.append(Boundary(Kind.GRADUAL, min(begins, ends - 1), ends, strict))
    return found


def _faded(pictures: _Pictures, fade: int, near: int) -> list[Boundary]:
    """Fades out and in again within `fade` frames, whatever their score: by how the pictures before and behind differ, and what
    changes in `near` frames there."""
    contrast = np.sqrt(pictures.energy)
    shown = np.flatnonzero(contrast >= EMPTY)
    gaps = np.flatnonzero(np.diff(shown) > 1)
    found = []
    for out, into in zip(shown[gaps].tolist(), shown[gaps + 1].tolist(), strict=True):
        first, last = _whole(contrast, out, -1, near, fade), _whole(contrast, into, 1, near, fade)
        if last - first > fade or contrast[out:into].min() > FADED * min(contrast[first], contrast[last]):
            continue
        around = [(max(first - near, 0), first), (last, min(last + near, pictures.count - 1))]
        across, before, behind = pictures.differences(*np.array([(first, last), *around]).T).tolist()
        found.append(Boundary(Kind.GRADUAL, first, last, across / (max(before, behind) + FLOOR)))
    return found


def _whole(contrast: NDArray[np.float32], at: int, way: int, near: int, fade: int) -> int:
    """The picture that a fade leads from or to: from `at` on, as long as contrast grows within `near` pictures, and so fast that
    it would double in `fade`."""
    best = at
    place = at + way
    while 0 <= place < len(contrast) and abs(place - best) <= near:
        if contrast[place] > (1 + abs(place - best) / fade) * contrast[best]:
            best = place
        place += way
    return best


def _as_mixtures(pictures: _Pictures, first: int, last: int) -> tuple[float, NDArray[np.float32]]:
    """What is left of the pictures in between when they are taken for mixtures of both ends, in grey levels (root mean square of
    the worst), and the share of the last one in each, ends included."""
    luma = pictures.luma[first : last + 1]
    way = luma[-1] - luma[0]
    share = (luma - luma[0]) @ way / max(float(way @ way), 1e-6)
    rest = luma - luma[0] - share[:, None] * way
    return float(np.sqrt(np.square(rest).mean(axis=1)).max()), np.asarray(share, np.float32)
