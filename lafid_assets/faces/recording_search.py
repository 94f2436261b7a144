"""A long file searched for cuts from beginning to end, before anybody looks for a face in it.

Belongs here: one file -> its boundaries and pieces, and how far that is. Not here: boundaries and pieces themselves (`shots`),
what becomes of the pieces (`shard_analysis`).
"""

import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import av

from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import cut_short
from lafid_assets.ingest.packets import FrameIndex, open_clip, promised_s, read_index
from lafid_assets.outcomes import ClipError, Reason
from lafid_assets.shots.pieces import split_at_cuts
from lafid_assets.shots.search import ShotSearch
from model.encoding.shown import ShownFrame, main_video, shown_frames

SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class SearchedFile:
    """Rows of `shot_boundaries`, the pieces as `split_at_cuts` gives them (none of one shot), or why there are neither."""

    boundaries: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    fault: ClipError | None = None


def search_file(clip_id: str, shard: str, path: Path, settings: AnalysisSettings) -> SearchedFile:
    """Decode every frame once, and keep no more of them than are compared with one another.

    A part that cannot be decoded costs itself: what lies before and behind it is searched.
    """
    try:
        index, promised = read_index(path), promised_s(path)
        if fault := cut_short(index, promised):
            return SearchedFile(fault=fault)
        stretches, broken = _intact(path, index)
    except ClipError as error:
        return SearchedFile(fault=error)
    boundaries: list[dict[str, Any]] = []
    for search in stretches:
        boundaries += search.rows(clip_id, shard, len(boundaries))
    behind = (index.pts[bisect_right(index.pts, last)] for _, last in broken if last < index.pts[-1])
    parted = replace(index, restarts=(*index.restarts, *behind, *(search.ends[0] for search in stretches[1:])))
    return SearchedFile(boundaries, split_at_cuts(parted, boundaries, settings.cut_scores, broken))


def _intact(path: Path, index: FrameIndex) -> tuple[list[ShotSearch], list[tuple[int, int]]]:
    """A search of each stretch that can be decoded, all its frames shown to it, and what is lost: first and last frame each.

    Behind a packet that cannot be decoded the next stretch begins with a keyframe: pictures before it may lean on what is lost.

    Raises:
        ClipError: nothing can be decoded.
    """
    stretches: list[ShotSearch] = []
    lost: list[tuple[int, int]] = []
    errors: list[str] = []
    is_torn = False
    told = _Told(path.name, index.pts[0], index.duration_s)

    def lose_until(place: int) -> None:
        begin = bisect_right(index.pts, stretches[-1].ends[1]) if stretches else 0
        if begin < place:
            lost.append((index.pts[begin], index.pts[place - 1]))

    try:
        with open_clip(path) as container:
            stream = main_video(container)
            stream.thread_count = 1

            def tear(error: av.FFmpegError) -> None:
                nonlocal is_torn
                is_torn = True
                errors.append(str(error.strerror))
                stream.codec_context.flush_buffers()  # of what it holds back, some frames have lost those between them

            for shown in shown_frames(container, stream, path, tear):
                told(shown)
                if stretches and shown.frame.is_corrupt:
                    is_torn = True
                elif not stretches or (is_torn and shown.frame.key_frame):
                    if is_torn:
                        lose_until(bisect_left(index.pts, shown.pts))
                    stretches.append(ShotSearch(index))
                    is_torn = False
                if not is_torn:
                    stretches[-1](shown)
    except av.FFmpegError as error:  # of the container: there is no going on
        is_torn = True
        errors.append(str(error.strerror))
    if not stretches:
        raise ClipError(Reason.DECODE_FAILED, f"decoding stopped: {errors[0] if errors else 'there is no picture'}")
    if is_torn:
        lose_until(len(index.pts))
    return stretches, lost


class _Told:
    """Prints how far the search is, to the log that has all that a child prints."""

    def __init__(self, name: str, first_pts: int, duration_s: float) -> None:
        self._name, self._first_pts, self._duration_s = name, first_pts, duration_s
        self._last = time.monotonic()

    def __call__(self, shown: ShownFrame) -> None:
        if (now := time.monotonic()) - self._last >= SECONDS_BETWEEN_LINES:
            minutes = shown.time_since(self._first_pts) / 60
            print(f"looking for cuts in {self._name}: {minutes:.1f} of {self._duration_s / 60:.1f} min")
            self._last = now
