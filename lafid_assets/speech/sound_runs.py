"""Which sound of a file belongs to which of its pictures, where timestamps begin anew.

Belongs here: packets of sound and pictures in the order of the file -> the packets of one run of pictures. Not here: decoding
them (`audio`).

Sound may begin anew more or less often than the pictures do: one part of a file has none, or a recorder's clocks break off by
themselves. So what belongs together is told by where it lies in the file, and believed where the clocks agree with it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import av

from model.encoding.footage import Piece, file_of
from model.encoding.shown import RisingClock, main_video

GAP_S = 0.05
"""Jumps of the time stamps below this are rounding or jitter of the muxer; above it, samples are missing."""
LATE_S = 1.0
"""How far behind its pictures sound may lie in a file: transport streams hold back what a decoder needs later."""
LEAST_SHARED = 0.5
"""Of sound and pictures of one run, the shorter one is heard or seen with the other for this share of it at least."""


@dataclass(frozen=True)
class RunSound:
    """The sound of one run of pictures.

    Attributes:
        offset: by how much the rising clock of the pictures is ahead of the run's own, in units of their time base.
        packets: places of its packets among `seeking.sound_packets`; none where the run has no sound.
    """

    offset: int
    packets: frozenset[int]


@dataclass(frozen=True)
class _Sounding:
    """A packet of sound: its time (None: it goes on), its length (0: unknown), and how many runs of pictures had begun."""

    begin_s: float | None
    length_s: float
    runs: int


@dataclass
class _Stretch:
    """Sound without a gap: the place of its first packet, and how many seconds of it were read during each run of pictures."""

    first: int
    begin_s: float
    end_s: float
    packets: int = 0
    during: dict[int, float] = field(default_factory=dict)

    def run(self) -> int | None:
        """The run that it belongs to; None where it goes on from one to another."""
        run = max(self.during, key=lambda one: self.during[one])
        others_s = sum(self.during.values()) - self.during[run]
        return run if others_s <= min(LATE_S, self.during[run]) else None


def sound_of_run(piece: Piece, track_index: int) -> RunSound:
    """The sound of the run of pictures that a piece lies in.

    Raises:
        ValueError: its first picture is not found, or it cannot be told which sound is its own.
    """
    found: tuple[int, int] | None = None
    shown_s: dict[int, tuple[float, float]] = {}
    sounding: list[_Sounding] = []
    with av.open(str(file_of(piece)), metadata_errors="replace") as container:
        stream, track = main_video(container), container.streams[track_index]
        clock = RisingClock(container, stream)
        for packet in container.demux(stream, track):
            pts = packet.dts if packet.pts is None else packet.pts
            if not packet.size:
                continue
            at_s = None if pts is None else float(pts * packet.time_base)
            length_s = float((packet.duration or 0) * packet.time_base)
            if packet.stream is track:
                sounding.append(_Sounding(at_s, length_s, clock.runs))
            elif pts is not None and at_s is not None:
                if clock.rise(pts, packet.dts) == piece.first_pts:
                    found = clock.runs, piece.first_pts - pts
                begin_s, end_s = shown_s.get(clock.runs, (at_s, at_s))
                shown_s[clock.runs] = min(begin_s, at_s), max(end_s, at_s + length_s)
    if found is None:
        raise ValueError("the first picture of its part is not found")
    run, offset = found
    stretches = _stretches(sounding)
    if any(stretch.run() is None and run in stretch.during for stretch in stretches):
        raise ValueError("its sound goes on where its pictures begin anew")
    own = [stretch for stretch in stretches if stretch.run() == run]
    _refuse_other_clocks(own, *shown_s[run])
    return RunSound(offset, frozenset(place for one in own for place in range(one.first, one.first + one.packets)))


def _stretches(sounding: Sequence[_Sounding]) -> list[_Stretch]:
    stamps_s = [one.begin_s for one in sounding if one.begin_s is not None]
    steps_s = sorted(behind - before for before, behind in itertools.pairwise(stamps_s) if behind > before)
    usual_s = steps_s[len(steps_s) // 2] if steps_s else GAP_S
    stretches: list[_Stretch] = []
    for place, one in enumerate(sounding):
        expected_s = stretches[-1].end_s if stretches else 0.0
        begin_s = expected_s if one.begin_s is None else one.begin_s
        if not stretches or abs(begin_s - expected_s) > GAP_S:
            stretches.append(_Stretch(place, begin_s, begin_s))
        last, length_s = stretches[-1], one.length_s or usual_s
        last.end_s, last.packets = begin_s + length_s, last.packets + 1
        last.during[one.runs] = last.during.get(one.runs, 0.0) + length_s
    return stretches


def _refuse_other_clocks(own: Sequence[_Stretch], begin_s: float, end_s: float) -> None:
    """Sound must be heard with the run's pictures, which are seen from `begin_s` to `end_s`.

    Raises:
        ValueError: it lies on another clock.
    """
    heard_s = sum(one.end_s - one.begin_s for one in own)
    shared_s = sum(max(0.0, min(one.end_s, end_s) - max(one.begin_s, begin_s)) for one in own)
    if shared_s < LEAST_SHARED * min(heard_s, end_s - begin_s):
        raise ValueError("the clock of its sound is not that of its pictures")
