"""The shots of a recording: what lies between its cuts, each a clip of its own.

Belongs here: boundaries -> pieces, and what a piece is called. Not here: finding boundaries (`search`), analysing pieces
(`faces`).
"""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

from lafid_assets.ingest.packets import FrameIndex
from lafid_assets.shots.boundaries import Kind

ID_DIGITS = 32


def split_at_cuts(
    index: FrameIndex, boundaries: Sequence[Mapping[str, Any]], cut_scores: Mapping[Kind, float]
) -> list[dict[str, Any]]:
    """A recording's pieces in order of time, as columns of `pieces`; none where it is one shot.

    What is mixed of two shots, the frames of a gradual transition, belongs to neither.

    Args:
        boundaries: its rows of `shot_boundaries`.
        cut_scores: the score above which a boundary of a kind is a cut.
    """
    cuts = [one for one in boundaries if one["score"] > cut_scores[Kind(one["kind"])]]
    if not cuts:
        return []
    firsts = [index.pts[0], *(cut["first_pts_behind"] for cut in cuts)]
    lasts = [*(cut["last_pts_before"] for cut in cuts), index.pts[-1]]
    return [_piece(index, number, *ends) for number, ends in enumerate(zip(firsts, lasts, strict=True))]


def piece_id(content_sha256: str, first_pts: int, last_pts: int) -> str:
    """The clip's id: the same on every machine and in every run."""
    return hashlib.sha256(f"{content_sha256} {first_pts} {last_pts}".encode()).hexdigest()[:ID_DIGITS]


def _piece(index: FrameIndex, number: int, first_pts: int, last_pts: int) -> dict[str, Any]:
    governing = index.keyframe_pts[bisect_right(index.keyframe_pts, first_pts) - 1]
    return {
        "piece_index": number,
        "first_pts": first_pts,
        "last_pts": last_pts,
        "keyframe_pts": governing if index.runs == 1 else None,
        "start_s": float((first_pts - index.pts[0]) * index.time_base),
        "duration_s": float((last_pts - first_pts + index.step) * index.time_base),
        "frame_count": bisect_right(index.pts, last_pts) - bisect_left(index.pts, first_pts),
    }
