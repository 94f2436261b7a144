"""One clip, analysed: the cheapest question first.

Belongs here: which tiers a clip goes through and what comes of it, as plain values that cross a process border.
Not here: a tier (`scan`, `survey`), processes and deadlines (`shard_analysis`, `workers`).
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from lafid_assets.faces.scan import TIER as SCAN
from lafid_assets.faces.scan import scan_clip
from lafid_assets.faces.settings import AnalysisSettings
from lafid_assets.faces.survey import TIER as SURVEY
from lafid_assets.faces.survey import survey_clip
from lafid_assets.outcomes import ClipError, Reason, Status
from model.face_engine.interface import FaceEngine
from resources.face_engine import EngineChoice, load_face_engine

__all__ = ["AnalysedClip", "AnalysisSettings", "ClipTask", "analyse_clip"]


@dataclass(frozen=True)
class ClipTask:
    """One clip to analyse. Plain values: it crosses a process border."""

    clip_id: str
    shard: str
    path: Path
    duration_s: float | None
    content_sha256: str | None
    settings: AnalysisSettings


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
        boundaries: rows of `shot_boundaries`, of the survey alone.
        motion: how much the pictures move, of the survey alone.
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
    boundaries: list[dict[str, Any]] = field(default_factory=list)
    motion: float | None = None


def analyse_clip(task: ClipTask) -> AnalysedClip:
    """Scan, then survey what the scan leaves. Faults of the clip come back as its status.

    Raises:
        Exception: faults of the engine or of the code.
    """
    engine, settings = _engine(task.settings.engine_choice), task.settings
    verdict: Reason | None = None
    audited = False
    if settings.scan_margins is not None:
        scanned = scan_clip(task.clip_id, task.shard, task.path, settings.scan_margins, engine)
        verdict = scanned.verdict
        audited = verdict is not None and is_audited(task.clip_id, settings)
        if verdict is not None and not audited:
            detail = f"after {len(scanned.frames)} looks"
            return AnalysedClip(
                Status.REJECTED, verdict, detail, SCAN, verdict, False, scanned.frames_asked, scanned.frames, scanned.faces
            )
    rows = survey_clip(task.clip_id, task.shard, task.path, settings, engine)
    status, reason, detail_ = (Status.OK, None, None) if rows.fault is None else _fault(rows.fault)
    seen = rows.frames, rows.faces, rows.boundaries, rows.motion
    return AnalysedClip(status, reason, detail_, SURVEY, verdict, audited, rows.frames_asked, *seen)


def is_audited(clip_id: str, settings: AnalysisSettings) -> bool:
    """Whether this clip belongs to the audited share: by a hash of seed and id, so the same clips whatever the order."""
    digest = hashlib.sha256(f"{settings.audit_seed}/{clip_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < settings.audit_share * 2**64


def _fault(error: ClipError) -> tuple[Status, Reason, str]:
    return Status.ERROR, error.reason, error.detail


@lru_cache(maxsize=1)
def _engine(choice: EngineChoice) -> FaceEngine:
    return load_face_engine(choice)
