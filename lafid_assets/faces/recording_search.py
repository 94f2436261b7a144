"""A long file searched for cuts from beginning to end, before anybody looks for a face in it.

Belongs here: one file -> its boundaries and pieces, and how far that is. Not here: boundaries and pieces themselves (`shots`),
what becomes of the pieces (`shard_analysis`).
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lafid_assets.faces.sampling import decode_samples
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import cut_short
from lafid_assets.ingest.packets import promised_s, read_index
from lafid_assets.outcomes import ClipError
from lafid_assets.shots.pieces import split_at_cuts
from lafid_assets.shots.search import ShotSearch
from model.encoding.shown import ShownFrame

SECONDS_BETWEEN_LINES = 30.0


@dataclass(frozen=True)
class SearchedFile:
    """Rows of `shot_boundaries`, the pieces as `split_at_cuts` gives them (none of one shot), or why there are neither."""

    boundaries: list[dict[str, Any]] = field(default_factory=list)
    pieces: list[dict[str, Any]] = field(default_factory=list)
    fault: ClipError | None = None


def search_file(clip_id: str, shard: str, path: Path, settings: AnalysisSettings) -> SearchedFile:
    """Decode every frame once, and keep no more of them than are compared with one another."""
    try:
        index, promised = read_index(path), promised_s(path)
        if fault := cut_short(index, promised):
            return SearchedFile(fault=fault)
        search = ShotSearch(index)
        told = _Told(path.name, index.pts[0], index.duration_s)

        def watch(shown: ShownFrame) -> None:
            search(shown)
            told(shown)

        for _ in decode_samples(path, [], watch):
            pass
    except ClipError as error:
        return SearchedFile(fault=error)
    boundaries = search.rows(clip_id, shard)
    return SearchedFile(boundaries, split_at_cuts(index, boundaries, settings.cut_scores))


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
