"""How a clip can end, and why.

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


REASONS: dict[Status, frozenset[Reason]] = {
    Status.OK: frozenset(),
    Status.SKIPPED: frozenset(
        {
            Reason.FILE_MISSING,
            Reason.NO_ROW,
            Reason.UPSTREAM,
            Reason.NOT_PROCESSED,
            Reason.QUARANTINED,
            Reason.FORGOTTEN,
            Reason.DUPLICATE,
            Reason.TOO_SHORT,
            Reason.SPLIT,
        }
    ),
    Status.ERROR: frozenset(
        {
            Reason.EMPTY_FILE,
            Reason.UNREADABLE,
            Reason.NAME_NOT_UTF8,
            Reason.NO_VIDEO_STREAM,
            Reason.OUTSIDE_ROOT,
            Reason.NOT_A_FILE,
            Reason.DECODE_FAILED,
            Reason.ENGINE_FAILED,
            Reason.CRASHED,
            Reason.MEMORY_LIMIT,
            Reason.AUDIO_UNREADABLE,
        }
    ),
    Status.TIMEOUT: frozenset({Reason.DEADLINE}),
    Status.REJECTED: frozenset(
        {
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
        }
    ),
}


class ClipError(Exception):
    """A fault in one clip, raised where it arises and turned into that clip's `error` row at the clip's border."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
