"""One clip, analysed: the cheapest question first.

Belongs here: which tiers a clip goes through and what comes of it, as plain values that cross a process border.
Not here: a tier (`scan`, `survey`), processes and deadlines (`shard_analysis`, `workers`).
"""

import hashlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from lafid_assets.faces.recording_search import search_file
from lafid_assets.faces.scan import TIER as SCAN
from lafid_assets.faces.scan import scan_clip
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import TIER as SURVEY
from lafid_assets.faces.survey import survey_clip
from lafid_assets.outcomes import ClipError, Reason, Status
from model.encoding.footage import Footage, Piece, file_of
from model.face_engine.interface import FaceEngine
from resources.face_engine import EngineChoice, load_face_engine

__all__ = ["AnalysedClip", "AnalysisSettings", "ClipTask", "analyse_clip"]


@dataclass(frozen=True)
class ClipTask:
    """One clip to analyse. Plain values: it crosses a process border.

    Attributes:
        only_decoded_s: seconds of its file that are decoded before anybody looks for a face: what its deadline allows for.
    """

    clip_id: str
    shard: str
    footage: Footage
    duration_s: float | None
    content_sha256: str | None
    settings: AnalysisSettings
    only_decoded_s: float = 0.0


@dataclass(frozen=True)
class AnalysedClip:
    """What the analysis of one clip gave: rows of the deepest tier that it reached, and how it ended.

    Attributes:
        tier: scan or survey; None when the clip was not looked at.
        scan_verdict: why the scan found it hopeless; None when it did not.
        audited: surveyed although the scan found it hopeless.
        frames_asked: frames that the tier's sampling plan asked for.
        frames: rows of `face_frames`, without the engine's columns.
        faces: rows of `face_info`, without the engine's columns.
        boundaries: rows of `shot_boundaries`; None where the clip was neither searched for cuts nor surveyed.
        pieces: of a file that has cuts and is no clip, its shots as `split_at_cuts` gives them.
        motion: how much the pictures move, of the survey alone.
        hashes: rows of `picture_hashes`, of the survey alone.
    """

    status: Status
    reason: Reason | None
    detail: str | None
    tier: str | None
    scan_verdict: Reason | None
    audited: bool
    frames_asked: int | None
    frames: list[dict[str, Any]] = field(default_factory=list)
    faces: list[dict[str, Any]] = field(default_factory=list)
    boundaries: list[dict[str, Any]] | None = None
    pieces: list[dict[str, Any]] = field(default_factory=list)
    motion: float | None = None
    hashes: list[dict[str, Any]] = field(default_factory=list)


def analyse_clip(task: ClipTask) -> AnalysedClip:
    """Search a long file for cuts, scan, then survey what the scan leaves. Faults of the clip come back as its status.

    Raises:
        Exception: faults of the engine or of the code.
    """
    settings, footage = task.settings, task.footage
    boundaries = None
    if not isinstance(footage, Piece) and is_searched_first(task.duration_s, settings):
        searched = search_file(task.clip_id, task.shard, file_of(footage), settings)
        if searched.fault is not None:
            return AnalysedClip(*_fault(searched.fault), None, None, False, None)
        if searched.pieces:
            return _split(searched.boundaries, searched.pieces, None)
        boundaries = searched.boundaries
    engine = _engine(settings.engine_choice)
    verdict: Reason | None = None
    audited = False
    if settings.scan_margins is not None:
        scanned = scan_clip(task.clip_id, task.shard, footage, settings.scan_margins, engine)
        verdict = scanned.verdict
        audited = verdict is not None and is_audited(task.clip_id, settings)
        if verdict is not None and not audited:
            detail = f"after {len(scanned.frames)} looks"
            seen = scanned.frames, scanned.faces, boundaries
            return AnalysedClip(Status.REJECTED, verdict, detail, SCAN, verdict, False, scanned.frames_asked, *seen)
    rows = survey_clip(task.clip_id, task.shard, footage, settings, engine, boundaries=boundaries)
    if rows.pieces and rows.fault is None:
        return _split(rows.boundaries, rows.pieces, SURVEY)
    status, reason, detail_ = (Status.OK, None, None) if rows.fault is None else _fault(rows.fault)
    found = rows.frames, rows.faces, rows.boundaries
    ended = AnalysedClip(status, reason, detail_, SURVEY, verdict, audited, rows.frames_asked, *found)
    return replace(ended, motion=rows.motion, hashes=rows.hashes)


def is_searched_first(duration_s: float | None, settings: AnalysisSettings) -> bool:
    """Whether a file of that length is searched for cuts before it is scanned."""
    return duration_s is not None and duration_s >= settings.searched_from_s


def _split(boundaries: list[dict[str, Any]], pieces: list[dict[str, Any]], tier: str | None) -> AnalysedClip:
    """A file with cuts: what was seen of it belongs to no clip, its pieces are looked at one by one."""
    broken = sum(piece["is_broken"] for piece in pieces)
    detail = f"its {len(pieces) - broken} shots are clips of their own"
    detail += f"; {broken} parts cannot be decoded" if broken else ""
    ended = AnalysedClip(Status.SKIPPED, Reason.SPLIT, detail, tier, None, False, None)
    return replace(ended, boundaries=boundaries, pieces=pieces)


def is_audited(clip_id: str, settings: AnalysisSettings) -> bool:
    """Whether this clip belongs to the audited share: by a hash of seed and id, so the same clips whatever the order."""
    digest = hashlib.sha256(f"{settings.audit_seed}/{clip_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < settings.audit_share * 2**64


def _fault(error: ClipError) -> tuple[Status, Reason, str]:
    return Status.ERROR, error.reason, error.detail


@lru_cache(maxsize=1)
def _engine(choice: EngineChoice) -> FaceEngine:
    return load_face_engine(choice)
