"""How a clip can end, why, and what to do about it.

Belongs here: the closed lists of statuses and reasons that every per-clip table uses.
Not here: thresholds (they live with the policy of the step that decides).
"""

from enum import StrEnum


class Status(StrEnum):
    """Every clip ends a step as exactly one of these; the first step that is not `ok` decides the clip's outcome."""

    OK = "ok"
    REJECTED = "rejected"
    ERROR = "error"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"


class Reason(StrEnum):
    """Why a clip did not pass. Which status a reason may stand with is fixed in `REASONS`."""

    # skipped: nothing was measured
    FILE_MISSING = "file_missing"
    NO_ROW = "no_row"
    UPSTREAM = "upstream"
    NOT_PROCESSED = "not_processed"
    QUARANTINED = "quarantined"
    FORGOTTEN = "forgotten"
    DUPLICATE = "duplicate"
    TOO_SHORT = "too_short"
    SPLIT = "split"
    # error: measuring failed
    EMPTY_FILE = "empty_file"
    UNREADABLE = "unreadable"
    NOT_FETCHED = "not_fetched"
    NAME_NOT_UTF8 = "name_not_utf8"
    NO_VIDEO_STREAM = "no_video_stream"
    OUTSIDE_ROOT = "outside_root"
    NOT_A_FILE = "not_a_file"
    DECODE_FAILED = "decode_failed"
    ENGINE_FAILED = "engine_failed"
    CRASHED = "crashed"
    MEMORY_LIMIT = "memory_limit"
    AUDIO_UNREADABLE = "audio_unreadable"
    # timeout
    DEADLINE = "deadline"
    # rejected: measured, and found wanting
    DURATION_OUTSIDE = "duration_outside"
    LUMINANCE_OUTSIDE = "luminance_outside"
    PICTURE_BLURRED = "picture_blurred"
    AESTHETIC_LOW = "aesthetic_low"
    TECHNICAL_LOW = "technical_low"
    MOTION_OUTSIDE = "motion_outside"
    CUT = "cut"
    NO_FACE = "no_face"
    FACE_TOO_RARE = "face_too_rare"
    SEVERAL_FACES = "several_faces"
    FACE_TOO_SMALL = "face_too_small"
    STATIC = "static"
    FACE_BLURRED = "face_blurred"
    POSE_UNKNOWN = "pose_unknown"
    POSE_VARIATION_LOW = "pose_variation_low"
    IDENTITY_UNKNOWN = "identity_unknown"
    IDENTITY_CHANGE = "identity_change"
    NEAR_DUPLICATE = "near_duplicate"


_THRESHOLD = "nothing: it was measured and decided; `lafid whatif` tells what another threshold would keep"

KEPT = "kept"
"""How a clip ends that every step passed."""

REASONS: dict[Status, dict[Reason, str]] = {
    Status.OK: {},
    Status.SKIPPED: {
        Reason.FILE_MISSING: "put the file where the table names it, or take its row out; then curate the folder again",
        Reason.NO_ROW: "add its row to the table that comes with the files, or leave it: nobody said what it shows",
        Reason.UPSTREAM: "see the step before",
        Reason.NOT_PROCESSED: "curate again: the steps after the one named here have not run",
        Reason.QUARANTINED: "it crashed or hung again and again: encode the file anew, or remove it",
        Reason.FORGOTTEN: "nothing: it was erased on request and stays away",
        Reason.DUPLICATE: "nothing: the same file is there as another clip",
        Reason.TOO_SHORT: "nothing: too few frames to judge; longer shots are cut out whole",
        Reason.SPLIT: "nothing: it has several shots, and these are clips of their own",
    },
    Status.ERROR: {
        Reason.EMPTY_FILE: "copy the file again: it has no bytes",
        Reason.UNREADABLE: "look at the file's rights and its disk, then curate again: it is tried anew",
        Reason.NOT_FETCHED: "put the object back as it was, or grant its reading; then curate the prefix again: it is tried anew",
        Reason.NAME_NOT_UTF8: "rename the file: its name is no UTF-8",
        Reason.NO_VIDEO_STREAM: "remove the file, or copy it again: it holds no video",
        Reason.OUTSIDE_ROOT: "take the row out of the table: its path leads out of the folder",
        Reason.NOT_A_FILE: "take the row out of the table, or put a file there: the path is a folder or a device",
        Reason.DECODE_FAILED: "copy the file again, or encode it anew: it is torn, or no codec here reads it",
        Reason.ENGINE_FAILED: "read the detail, then curate again: it is tried anew",
        Reason.CRASHED: "curate again: it is tried anew; if it happens again encode the file anew",
        Reason.MEMORY_LIMIT: "raise memory_limit_mib, or encode the file with fewer pixels",
        Reason.AUDIO_UNREADABLE: "encode its sound anew, or take the audio stream out",
    },
    Status.TIMEOUT: {Reason.DEADLINE: "curate again; if it happens again raise deadline_s_per_s, or cut it shorter"},
    Status.REJECTED: dict.fromkeys(
        (
            Reason.DURATION_OUTSIDE,
            Reason.LUMINANCE_OUTSIDE,
            Reason.PICTURE_BLURRED,
            Reason.AESTHETIC_LOW,
            Reason.TECHNICAL_LOW,
            Reason.MOTION_OUTSIDE,
            Reason.CUT,
            Reason.NO_FACE,
            Reason.FACE_TOO_RARE,
            Reason.SEVERAL_FACES,
            Reason.FACE_TOO_SMALL,
            Reason.STATIC,
            Reason.FACE_BLURRED,
            Reason.POSE_UNKNOWN,
            Reason.POSE_VARIATION_LOW,
            Reason.IDENTITY_UNKNOWN,
            Reason.IDENTITY_CHANGE,
            Reason.NEAR_DUPLICATE,
        ),
        _THRESHOLD,
    ),
}
"""Status to the reasons that it may stand with, and what to do about a clip that ended so."""

DECIDED = frozenset({Reason.FORGOTTEN, Reason.DUPLICATE, Reason.TOO_SHORT, Reason.SPLIT})
"""Reasons to skip a clip that are decisions."""


def is_decision(status: str, reason: str) -> bool:
    """Whether a clip that ended so was decided against; otherwise it is missing, not done, or failed, and may come back."""
    return status == Status.REJECTED or reason in DECIDED


class ClipError(Exception):
    """A fault in one clip, raised where it arises and turned into that clip's `error` row at the clip's border."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
