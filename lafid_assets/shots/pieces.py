"""The shots of a recording: what lies between its cuts, each a clip of its own.

Belongs here: boundaries, restarts of the clock and broken parts -> pieces, and what a piece is called. Not here: finding them
(`search`, `faces.recording_search`), analysing pieces (`faces`).
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.shots.boundaries import Kind

ID_DIGITS = 32


def split_at_cuts(
    index: FrameIndex,
    boundaries: Sequence[Mapping[str, Any]],
    cut_scores: Mapping[Kind, float],
    broken: Sequence[tuple[int, int]] = (),
) -> list[dict[str, Any]]:
    """A recording's pieces in order of time, as columns of `pieces` and `is_broken`; none where it is one shot.

    What is mixed of two shots, the frames of a gradual transition, belongs to neither. Timestamps that begin anew begin a piece,
    and a part that cannot be decoded is one of its own.

    Args:
        boundaries: its rows of `shot_boundaries`.
        cut_scores: the score above which a boundary of a kind is a cut.
        broken: first and last frame of each part that cannot be decoded; behind it `index` names a restart.
    """
    cuts = [
        (one["last_pts_before"], one["first_pts_behind"]) for one in boundaries if one["score"] > cut_scores[Kind(one["kind"])]
    ]
    for begins in sorted({*index.restarts, *(first for first, _ in broken)} - {index.pts[0]}):
        if not any(last < begins <= first for last, first in cuts):
            cuts.append((index.pts[bisect_left(index.pts, begins) - 1], begins))
    cuts.sort()
    firsts = [index.pts[0], *(first for _, first in cuts)]
    lasts = [*(last for last, _ in cuts), index.pts[-1]]
    pieces = [_piece(index, number, *ends) for number, ends in enumerate(zip(firsts, lasts, strict=True))]
    gone = {first for first, _ in broken}
    return [piece | {"is_broken": piece["first_pts"] in gone} for piece in pieces] if cuts else []


def piece_id(content_sha256: str, first_pts: int, last_pts: int) -> str:
    """The clip's id: the same on every machine and in every run."""
    return hashlib.sha256(f"{content_sha256} {first_pts} {last_pts}".encode()).hexdigest()[:ID_DIGITS]


def _piece(index: FrameIndex, number: int, first_pts: int, last_pts: int) -> dict[str, Any]:
    governing = index.keyframe_pts[bisect_right(index.keyframe_pts, first_pts) - 1]
    held = index.held if last_pts == index.pts[-1] else index.step
    return {
        "piece_index": number,
        "first_pts": first_pts,
        "last_pts": last_pts,
        "keyframe_pts": governing if index.runs == 1 else None,
        "start_s": float((first_pts - index.pts[0]) * index.time_base),
        "duration_s": float((last_pts - first_pts + held) * index.time_base),
        "frame_count": bisect_right(index.pts, last_pts) - bisect_left(index.pts, first_pts),
    }
