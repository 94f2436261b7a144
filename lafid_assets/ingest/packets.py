"""What a clip's packets tell without decoding: when its frames are shown, and how long the file says that they go on.

Belongs here: one file's packets -> timestamps on a clock that only rises. Not here: the header's facts (`media_probe`), which
frames are wanted (`faces.sampling`, `faces.scan_frames`).
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from lafid_assets.outcomes import ClipError, Reason
from model.encoding.footage import Footage, Piece, file_of
from model.encoding.seeking import breaks_off, packets_from
from model.encoding.shown import RisingClock, main_video

CONTAINERS = "mov,matroska,avi,mpegts,mpeg,flv,gif,ogg,asf,nut,mxf,wav,mp3,aac,flac"
"""Demuxers that read one file and nothing else; sound alone gets its own reason. Playlists (hls, dash, concat) would open what
their text names, wherever that lies."""
LEAST_KEPT_SHARE = 0.5
"""A file whose packets end before this share of what it promises is cut short."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """Timestamps of all frames in the order of showing, and of those where decoding can begin (the first one counts).

    Attributes:
        runs: how often timestamps begin, on the file's own clock: more than once, and no timestamp can be sought.
        restarts: the first frame of each run but the first one.
        step: how long a frame is shown on average, in units of `time_base`: what the last one adds to a piece's length.
        held: how long the last one is shown: `step`, or longer where the file says so (a screen that stands still in the end).
    """

    pts: list[int]
    keyframe_pts: list[int]
    time_base: Fraction
    runs: int = 1
    step: int = 0
    restarts: tuple[int, ...] = ()
    held: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        return float((self.pts[-1] - self.pts[0] + self.held) * self.time_base)


def open_clip(path: Path) -> av.container.InputContainer:
    """Open the file itself and nothing that its text may name, tags in any encoding: the one way to a clip's packets.

    Raises:
        av.FFmpegError: it is no container of a kind that reads one file.
    """
    return av.open(str(path), metadata_errors="replace", container_options={"format_whitelist": CONTAINERS})


def read_index(footage: Footage) -> FrameIndex:
    """Read every packet of the pictures, decode none; of a piece, the packets from its keyframe to its last frame.

    MPEG streams count from their first keyframe on: what lies before it cannot be decoded.

    Raises:
        ClipError: the container cannot be read, or its frames carry no timestamps.
    """
    stamps, keyframes, without, held = [], [], 0, 0
    latest = -math.inf
    begins: dict[int, int] = {}
    first, last = (footage.first_pts, footage.last_pts) if isinstance(footage, Piece) else (-math.inf, math.inf)
    can_seek = isinstance(footage, Piece) and footage.keyframe_pts is not None
    try:
        with open_clip(file_of(footage)) as container:
            stream = main_video(container)
            clock = RisingClock(container, stream)
            packets, has_begun = container.demux(stream), not breaks_off(container)
            if isinstance(footage, Piece) and footage.keyframe_pts is not None:
                packets = packets_from(container, stream, footage.keyframe_pts)
            for packet in packets:
                has_begun = has_begun or packet.is_keyframe  # television is recorded from any picture on
                if not packet.size or packet.is_discard or not has_begun:
                    continue
                pts = packet.dts if packet.pts is None else packet.pts
                if pts is None:
                    without += 1
                    continue
                if can_seek and packet.dts is not None and packet.dts > last:
                    break
                risen = clock.rise(pts, packet.dts)
                if not first <= risen <= last:
                    continue
                stamps.append(risen)
                if risen > latest:
                    latest, held = risen, max(packet.duration or 0, clock.step)
                begins[clock.runs] = min(risen, begins.get(clock.runs, risen))
                if packet.is_keyframe:
                    keyframes.append(risen)
            time_base = stream.time_base
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"reading packets stopped: {error.strerror}") from error
    if not stamps or without or time_base is None:
        raise ClipError(Reason.DECODE_FAILED, f"{without} of {without + len(stamps)} packets have no timestamp")
    runs, restarts = (1, ()) if can_seek else (clock.runs, tuple(sorted(begins.values())[1:]))
    return FrameIndex(sorted(stamps), sorted({min(stamps), *keyframes}), time_base, runs, clock.step, restarts, held)


def promised_s(path: Path) -> float | None:
    """How long the header says that the pictures go on; None where it does not say, or means the sound.

    Many containers name one length for all streams. Where a stream reaches it, the file is whole, and its pictures end sooner.

    Raises:
        ClipError: the container cannot be read.
    """
    try:
        with open_clip(path) as container:
            stream = main_video(container)
            if breaks_off(container):  # no header names a length there: FFmpeg guesses it from the timestamps
                return None
            if stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            if not container.duration:
                return None
            promised = container.duration / av.time_base
            start = (container.start_time or 0) / av.time_base
            ends = (
                float((packet.pts + (packet.duration or 0)) * packet.time_base) - start
                for packet in container.demux()
                if packet.pts is not None and packet.stream is not stream
            )
            return None if any(end >= LEAST_KEPT_SHARE * promised for end in ends) else promised
    except av.FFmpegError as error:
        raise ClipError(Reason.DECODE_FAILED, f"reading packets stopped: {error.strerror}") from error
