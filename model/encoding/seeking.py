"""Packets from a wanted place of a file on, wherever a seek lands.

Belongs here: seeking with a margin, seeing where one landed, going further back. Not here: decoding (`shown`, `heard`), opening
files (each user has its own rules for that).

Containers without an index (MPEG streams) are sought by decoding time, land between keyframes or behind the wanted one, and give
wrong timestamps until they have read a few true ones; some refuse to seek to before their beginning, or at all.
"""

import itertools
import math
from collections.abc import Iterator

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

AVFMT_TS_DISCONT = 0x0200
_MARGINS_S = (3.0, 30.0)
"""How far before the wanted place a seek goes where its answer cannot be believed: a DVD has several true timestamps in three
seconds; pictures of a film of one a second are decoded seconds before they are shown."""


def breaks_off(container: InputContainer) -> bool:
    """Whether the container's kind is one whose clock may break off and begin anew (MPEG streams)."""
    return bool(container.format.flags & AVFMT_TS_DISCONT)


def landings(container: InputContainer, stream: av.VideoStream, at_pts: int) -> Iterator[None]:
    """Seek ever further back, in the end to the file's beginning: after each step packets can be read.

    Args:
        stream: the pictures, by which files are sought; `at_pts` is on its clock.
    """
    assert stream.time_base is not None
    for margin_s in _MARGINS_S if breaks_off(container) else (0.0, *_MARGINS_S):
        try:
            container.seek(at_pts - round(margin_s / stream.time_base), stream=stream)
        except av.FFmpegError:
            continue
        yield
    _rewind(container, stream)
    yield


def packets_from(container: InputContainer, stream: av.VideoStream, keyframe_pts: int) -> Iterator[Packet]:
    """The packets of the pictures from that keyframe on; all of them where the file's first pictures are meant, which may have
    no keyframe before them."""
    for _ in landings(container, stream, keyframe_pts):
        packets = container.demux(stream)
        for packet in packets:
            stamp = packet.dts if packet.pts is None else packet.pts
            if not packet.size or not packet.is_keyframe or stamp is None or stamp < keyframe_pts:
                continue
            if stamp > keyframe_pts:
                break
            return itertools.chain([packet], packets)
    _rewind(container, stream)
    return container.demux(stream)


def sound_packets(container: InputContainer, track: AudioStream) -> Iterator[Packet]:
    """The packets of a track that hold sound."""
    return (packet for packet in container.demux(track) if packet.size)


def sound_from(container: InputContainer, track: AudioStream, stream: av.VideoStream, from_s: float) -> Iterator[Packet]:
    """The packets of a track from that second of the file's clock on."""
    assert stream.time_base is not None
    begins_s = float(track.start_time * track.time_base) if track.time_base and track.start_time is not None else -math.inf
    packets: Iterator[Packet] = iter(())
    for _ in landings(container, stream, round(from_s / stream.time_base)):
        packets = sound_packets(container, track)
        first = next(packets, None)
        if first is not None:
            packets = itertools.chain([first], packets)
            if time_s(first) <= max(from_s, begins_s):
                break
    return itertools.dropwhile(lambda packet: time_s(packet) < from_s, packets)


def time_s(packet: Packet) -> float:
    """When a packet is seen or heard, on the clock of the file; NaN where it does not say."""
    stamp = packet.dts if packet.pts is None else packet.pts
    return math.nan if stamp is None else float(stamp * packet.time_base)


def _rewind(container: InputContainer, stream: av.VideoStream) -> None:
    """Go to the file's first packet. A transport stream that is sought by its start lands behind its first keyframe."""
    assert stream.time_base is not None
    start = stream.start_time or 0
    try:
        container.seek(start - round(_MARGINS_S[-1] / stream.time_base), stream=stream)
    except av.FFmpegError:  # it takes no time before its beginning
        container.seek(start, stream=stream)
