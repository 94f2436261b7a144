"""How a clip's analysis ended, as rows of the face tables, and what such a row means for the next run.

Belongs here: endings of children -> outcomes, attempts and quarantine, the fingerprints that say which rows still count,
how far a clip's expression changes. Not here: running children (`shard_analysis`), looking at frames (`clip_analysis`).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from lafid_assets import schemas
from lafid_assets.faces.clip_analysis import AnalysedClip, AnalysisSettings, ClipTask
from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.faces.survey import TIER as SURVEY
from lafid_assets.outcomes import Reason, Status
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas.measures import EXPRESSIONS
from lafid_assets.shots.boundaries import Kind
from lafid_assets.shots.pieces import piece_id
from lafid_assets.workers.exit_reasons import TRIED_AGAIN, fault_of
from lafid_assets.workers.pool import Done, Ending
from model.face_engine.interface import EngineInfo
from model.face_engine.rotations import geodesic_deg
from resources.face_engine import EngineChoice

CODE_VERSION = "11"
TRIES = 3
OF_PICTURES = ("luminance_min", "luminance_max", "blur_min", "blur_max", "measured_motion")
"""Columns of `face_clips` that OpenHumanVid publishes and a folder lacks."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Engine:
    """What the tables record of the engine."""

    info: EngineInfo
    reason: str

    @property
    def columns(self) -> dict[str, str]:
        """The engine's columns."""
        return {
            "engine": self.info.name,
            "engine_version": self.info.version,
            "engine_licence": self.info.licence,
            "engine_reason": self.reason,
        }


@dataclass(frozen=True)
class Fingerprints:
    """Hashes of what a clip's rows depend on, besides the clip's content.

    Attributes:
        measures: code version, engine and settings; by which name the engine was asked for does not matter.
        trial: the same and the limits: a failure is one under these limits.
    """

    measures: str
    trial: str

    def still_counts(self, row: Row, content_sha256: str | None) -> bool:
        """Whether analysing the clip of this row of `face_clips` now would start from the same facts."""
        made_under = self.trial if row["reason"] in TRIED_AGAIN | {Reason.QUARANTINED} else self.measures
        return bool(row["fingerprint"] == made_under and row["content_sha256"] == content_sha256)


def fingerprints(settings: AnalysisSettings, limits: ShardLimits, engine: EngineInfo) -> Fingerprints:
    """Hashes of exactly what this step reads."""
    own = settings.model_dump(mode="json", exclude=set(EngineChoice.model_fields))
    measures = _hash([CODE_VERSION, engine.fingerprint, own])
    return Fingerprints(measures, _hash([measures, limits.what_a_clip_gets]))


def clip_frames(
    task: ClipTask, ending: Ending[AnalysedClip], attempt: int, engine: Engine, prints: Fingerprints
) -> dict[str, pl.DataFrame]:
    """The clip's rows in all tables.

    Args:
        attempt: which try this was; the third failure puts the clip into quarantine.
    """
    clip = _analysed(ending)
    again = clip.reason in TRIED_AGAIN
    status, reason, detail = clip.status, clip.reason, clip.detail
    if again and attempt >= TRIES:
        status, reason, detail = Status.SKIPPED, Reason.QUARANTINED, _quarantined(clip, attempt)
    row = engine.columns | {
        "clip_id": task.clip_id,
        "shard": task.shard,
        "content_sha256": task.content_sha256,
        "tier": clip.tier,
        "scan_verdict": clip.scan_verdict,
        "audited": clip.audited,
        "scan_margins_sha256": margins_row(task.settings)[0],
        "frames_asked": clip.frames_asked,
        "frames_decoded": len(clip.frames),
        "frames_with_face": sum(frame["face_count"] > 0 for frame in clip.frames),
        "faces": len(clip.faces),
        "hard_cut_score": _highest(clip, Kind.HARD),
        "gradual_cut_score": _highest(clip, Kind.GRADUAL),
        **_of_pictures(clip),
        **expression_measures(clip.faces),
        "fingerprint": prints.trial if again else prints.measures,
        "attempts": attempt,
        "status": status,
        "reason": reason,
        "detail": detail,
    }
    return {
        schemas.FACE_INFO.name: schemas.FACE_INFO.frame(_without_embedding(face) | engine.columns for face in clip.faces),
        schemas.FACE_EMBEDDINGS.name: schemas.FACE_EMBEDDINGS.frame(
            {name: face[name] for name in schemas.FACE_EMBEDDINGS.dtypes} for face in clip.faces if face["embedding"] is not None
        ),
        schemas.FACE_FRAMES.name: schemas.FACE_FRAMES.frame(frame | engine.columns for frame in clip.frames),
        schemas.PICTURE_HASHES.name: schemas.PICTURE_HASHES.frame(clip.hashes),
        schemas.SHOT_BOUNDARIES.name: schemas.SHOT_BOUNDARIES.frame(clip.boundaries or []),
        schemas.FACE_CLIPS.name: schemas.FACE_CLIPS.frame([row]),
        **_recording_frames(task, clip),
    }


def upstream_row(row: Row, settings: AnalysisSettings, engine: Engine, prints: Fingerprints) -> dict[str, Any]:
    """The row in `face_clips` of a clip that `raw_clips` did not pass."""
    nothing = dict.fromkeys(("tier", "scan_verdict", "frames_asked", "frames_decoded", "frames_with_face", "faces"))
    nothing |= dict.fromkeys(("hard_cut_score", "gradual_cut_score"))
    nothing |= dict.fromkeys(OF_PICTURES) | expression_measures([])
    return (
        engine.columns
        | nothing
        | {
            "clip_id": row["clip_id"],
            "shard": row["shard"],
            "content_sha256": row["content_sha256"],
            "audited": False,
            "scan_margins_sha256": margins_row(settings)[0],
            "fingerprint": prints.measures,
            "attempts": 0,
            "status": Status.SKIPPED,
            "reason": Reason.UPSTREAM,
            "detail": f"raw_clips: {row['reason']}",
        }
    )


def _recording_frames(task: ClipTask, clip: AnalysedClip) -> dict[str, pl.DataFrame]:
    """The rows of `recordings` and `pieces` of a file with cuts; none of a clip."""
    if not clip.pieces or task.content_sha256 is None:
        return {schemas.RECORDINGS.name: schemas.RECORDINGS.frame([]), schemas.PIECES.name: schemas.PIECES.frame([])}
    own = {"shard": task.shard, "content_sha256": task.content_sha256}
    above = [row["kind"] for row in clip.boundaries or [] if row["score"] > task.settings.cut_scores[Kind(row["kind"])]]
    cuts = {f"{kind}_cuts": above.count(kind) for kind in Kind}
    recording = own | cuts | {"clip_id": task.clip_id, "pieces": len(clip.pieces)}
    shots = sum(not piece["is_broken"] for piece in clip.pieces)
    pieces = [
        own
        | {name: value for name, value in piece.items() if name != "is_broken"}
        | _outcome_of(piece, task.settings)
        | {"recording_id": task.clip_id, "shots_in_file": shots}
        | {"clip_id": piece_id(task.content_sha256, piece["first_pts"], piece["last_pts"])}
        for piece in clip.pieces
    ]
    return {schemas.RECORDINGS.name: schemas.RECORDINGS.frame([recording]), schemas.PIECES.name: schemas.PIECES.frame(pieces)}


def _outcome_of(piece: Row, settings: AnalysisSettings) -> dict[str, Any]:
    if piece["is_broken"]:
        told = f"{piece['duration_s']:.2f} s from {piece['start_s']:.2f} s on cannot be decoded: the file is damaged there"
        return {"status": Status.ERROR, "reason": Reason.DECODE_FAILED, "detail": told}
    if piece["duration_s"] >= settings.piece_min_s:
        return {"status": Status.OK, "reason": None, "detail": None}
    told = f"a shot of {piece['duration_s']:.2f} s, less than {settings.piece_min_s:g} s"
    return {"status": Status.SKIPPED, "reason": Reason.TOO_SHORT, "detail": told}


def margins_row(settings: AnalysisSettings) -> tuple[str | None, pl.DataFrame]:
    """The hash of the scan's margins and their row of `policy_settings`; None and no row where the scan is off."""
    margins = settings.scan_margins
    return (None, schemas.POLICY_SETTINGS.frame([])) if margins is None else settings_row(margins.model_dump_json())


def _without_embedding(face: Row) -> dict[str, Any]:
    return {name: value for name, value in face.items() if name != "embedding"}


def _highest(clip: AnalysedClip, kind: Kind) -> float | None:
    """The highest score of that kind; None where the clip was not searched for cuts."""
    if clip.boundaries is None:
        return None
    return max((row["score"] for row in clip.boundaries if row["kind"] == kind), default=0.0)


def _of_pictures(clip: AnalysedClip) -> dict[str, float | None]:
    """`OF_PICTURES`; None where the clip was not surveyed: a few reduced pictures are no measure of it."""
    if clip.tier != SURVEY:
        return dict.fromkeys(OF_PICTURES)
    ends = {
        f"{name}_{end.__name__}": end((frame[name] for frame in clip.frames if frame[name] is not None), default=None)
        for name in ("luminance", "blur")
        for end in (min, max)
    }
    return ends | {"measured_motion": clip.motion}


def _analysed(ending: Ending[AnalysedClip]) -> AnalysedClip:
    if isinstance(ending, Done):
        return ending.value
    fault = fault_of(ending)
    return AnalysedClip(fault.status, fault.reason, fault.detail, None, None, False, None)


def _quarantined(clip: AnalysedClip, attempt: int) -> str:
    return (
        f"failed {attempt} times, the last time as {clip.reason}: {clip.detail}; "
        "it is tried again when its file, the engine, the settings or the limits change"
    )


def _hash(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


LEAST_FACES = 3
"""Fewer faces have no range."""
LIKE_POSE_DEG = 10.0
"""Poses so near differ by no more than a head pose network errs; what their embeddings differ by is not the turn."""
LOW, HIGH = 5, 95


def expression_measures(faces: Sequence[Row]) -> dict[str, float | None]:
    """The columns `<name>_range` of `EXPRESSIONS` and `expression_spread` of `face_clips`.

    Args:
        faces: rows of the clip's faces with `embedding`; the main one is the track that most often is its frame's largest face.
    """
    main = _main_track(faces)
    ranges = {f"{name}_range": _range([row[name] for row in main if row[name] is not None]) for name in EXPRESSIONS}
    return ranges | {"expression_spread": _spread_at_like_poses(main)}


def _main_track(faces: Sequence[Row]) -> list[Row]:
    led = Counter(row["track_id"] for row in faces if row["face_index"] == 0 and row["track_id"] is not None)
    if not led:
        return []
    main = min(led, key=lambda track: (-led[track], track))
    return [row for row in faces if row["track_id"] == main]


def _range(values: Sequence[float]) -> float | None:
    return float(np.subtract(*np.percentile(values, (HIGH, LOW)))) if len(values) >= LEAST_FACES else None


def _spread_at_like_poses(main: Sequence[Row]) -> float | None:
    """None where no two faces with embeddings have like poses."""
    known = [row for row in main if row["embedding"] is not None and row["rotation"] is not None]
    if len(known) < LEAST_FACES:
        return None
    rotations = np.array([row["rotation"] for row in known]).reshape(-1, 3, 3)
    embeddings = np.array([row["embedding"] for row in known])
    first, second = np.triu_indices(len(known), 1)
    alike = geodesic_deg(rotations[first], rotations[second]) <= LIKE_POSE_DEG
    if not alike.any():
        return None
    apart = 1 - (embeddings @ embeddings.T)[first, second]
    return float(max(0.0, np.percentile(apart[alike], HIGH)))
