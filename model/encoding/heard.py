"""Sound as it is decoded: the frames of a track, around what is damaged.

Belongs here: which track of a file is heard, passing over packets that cannot be decoded. Not here: from where on (`seeking`),
mixing and placing in time (`lafid_assets.speech.audio`).
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

LEAST_KEPT_SHARE = 0.5
"""A track of which less can be decoded is not heard."""

T = TypeVar("T")


class TrackUndecodable(ValueError):
    """Most of a track cannot be decoded."""


def of_first_track(opened: Callable[[], InputContainer], read: Callable[[InputContainer, AudioStream], T]) -> T | None:
    """What is read of the first track that can be decoded; None where the file has no track.

    A phone's first track can be in a format that only its maker reads, and a recorder's can be damaged.

    Args:
        opened: opens the file.
        read: takes the file at its beginning and one of its tracks.

    Raises:
        TrackUndecodable: no track can be decoded; it tells of the first one.
    """
    fault: TrackUndecodable | None = None
    place = 0
    while True:
        with opened() as container:
            if not container.streams.audio:
                return None
            tracks = [track for track in container.streams.audio if track.codec_context is not None]
            if place == len(tracks):
                raise fault or TrackUndecodable("no audio track has a decoder here")
            try:
                return read(container, tracks[place])
            except TrackUndecodable as error:
                fault = fault or error
        place += 1


def heard_frames(track: AudioStream, packets: Iterable[Packet]) -> Iterator[av.AudioFrame | None]:
    """Decode in turn; None stands for a packet that cannot be decoded, and is lost.

    Raises:
        TrackUndecodable: in the end, when most of them are lost.
    """
    count = lost = 0
    for packet in packets:
        count += 1
        try:
            yield from track.codec_context.decode(packet)
        except av.FFmpegError:
            lost += 1
            yield None
    if count - lost < LEAST_KEPT_SHARE * count:
        raise TrackUndecodable(f"{lost} of {count} packets of its sound cannot be decoded")
    yield from track.codec_context.decode(None)
