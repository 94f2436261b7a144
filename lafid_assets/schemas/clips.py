"""What a clip is: content and an interval of it. Where the content lies, and what was said of it, are tables of their own.

Moving, copying or re-captioning a file changes no clip, so that nothing is measured again. `raw_clips` shows all together.
A file with cuts is a recording and goes no further; its pieces are clips as whole files are.
"""

from dataclasses import replace

from lafid_assets.schemas.columns import BOOL, CLIP_ID, F64, I32, I64, OUTCOME, RELEASED, SHARD, STR, TERMS, maybe
from lafid_assets.steps.contract import Column, TableSchema

_PLACE = (
    Column("clip_root", STR, "folder under which `path` lies, or `s3://bucket/prefix`"),
    Column("path", STR, "path of the file relative to the clip root"),
)
_FILE_STATE = (
    maybe("size_bytes", I64, "size on disk; NULL where there is no file", minimum=0),
    maybe("mtime_ns", I64, "when the file last changed, ns since 1970; NULL where there is no file"),
    maybe("etag", STR, "the state of an object on S3, as it names it; NULL of files"),
)
_MEDIA = (
    maybe("fps", F64, "average frame rate of the video stream, 1/s", minimum=0),
    maybe("frame_count", I64, "frames that the container declares", minimum=0),
    maybe("width", I32, "px as stored, before turning and stretching; `face_frames` has the size as shown", minimum=1),
    maybe("height", I32, "px as stored", minimum=1),
    maybe("pixel_shape", F64, "width / height of a pixel as stored", minimum=0),
    maybe("transfer", STR, "transfer characteristic by FFmpeg's name; NULL where untagged"),
    maybe("primaries", STR, "colour primaries by FFmpeg's name; NULL where untagged"),
    maybe("duration_s", F64, "until the end of the last frame, as the container declares it or its packets tell", minimum=0),
    maybe("video_codec", STR, "codec of the video stream"),
    maybe("has_audio", BOOL, "whether there is an audio stream"),
    maybe("file_size_bytes", I64, "size on disk", minimum=0),
    maybe("content_sha256", STR, "hash of the whole file: the clip's identity, with the interval of a piece"),
)
_SAID = (maybe("caption", STR, "the released caption, never changed"), *RELEASED)

CLIP_ROOTS = TableSchema(
    "clip_roots",
    "Folders and prefixes from which clips were taken in.",
    ("clip_root",),
    (
        Column("clip_root", STR, "the folder, or `s3://bucket/prefix`"),
        Column("seen_at", STR, "when it was last looked through, ISO 8601, UTC"),
    ),
    partitioned=False,
)

CLIP_FILES = TableSchema(
    "clip_files",
    "A row a file, or a row of a released table without one: what registration sees without opening anything.",
    ("clip_root", "path"),
    (
        SHARD,
        *_PLACE,
        *_FILE_STATE,
        Column("seen_at", STR, "when it was first seen in this state, ISO 8601, UTC"),
        maybe("released_id", STR, "the clip's id in the released table; NULL in a plain folder"),
        Column("in_table", BOOL, "whether a table names it, or no table is to be expected"),
        maybe("fault", STR, "what is wrong with its name; NULL when nothing is"),
    ),
)

CLIP_ROWS = TableSchema(
    "clip_rows",
    "What was said of a file: caption, released measures, source and terms.",
    ("clip_root", "path"),
    (SHARD, *_PLACE, *_SAID, *TERMS),
)

CLIP_CONTENTS = TableSchema(
    "clip_contents",
    "Which content each file was found to hold, and whose clip that is. A file that is another one now and could not be read yet "
    "has its earlier content, and no size and time.",
    ("clip_root", "path"),
    (
        SHARD,
        *_PLACE,
        *_FILE_STATE,
        maybe("content_sha256", STR, "hash of the whole file; NULL where it could not be read"),
        CLIP_ID,
        Column("clip_shard", STR, "the shard of that clip: another one where the content was known there before"),
    ),
)

CLIPS = TableSchema(
    "clips",
    "A row a clip: its content and what the container says. No path, no caption.",
    ("clip_id",),
    (CLIP_ID, SHARD, *_MEDIA, *OUTCOME),
)

RECORDINGS = TableSchema(
    "recordings",
    "A row a file with cuts, a clock that begins anew or parts that cannot be decoded. It is no clip; its shots are: `pieces`.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("content_sha256", STR, "hash of the whole file"),
        Column("hard_cuts", I32, "cuts between two frames at which it was split", minimum=0),
        Column("gradual_cuts", I32, "gradual transitions at which it was split", minimum=0),
        Column("pieces", I32, "its pieces: shots, however short, and parts that cannot be decoded", minimum=1),
    ),
)
_INTERVAL = (
    maybe("recording_id", STR, "the recording that the clip is a piece of; NULL: it is a whole file"),
    maybe("shots_in_file", I32, "shots of that recording, of whole pictures; NULL: the clip is a whole file", minimum=1),
    maybe("piece_index", I32, "which of its pieces in order of time, from 0", minimum=0),
    maybe("first_pts", I64, "first frame, timestamp on the file's rising clock; NULL: it is the whole file"),
    maybe("last_pts", I64, "last frame; NULL: it is the whole file"),
    maybe("keyframe_pts", I64, "where decoding may begin to reach the first frame; NULL: at the file's beginning"),
    maybe("start_s", F64, "its first frame, s since the recording's first; NULL: it is the whole file", minimum=0),
)
_OF_THE_PIECE = ("duration_s", "frame_count")
"""What is another of a piece than of its file."""
PIECES = TableSchema(
    "pieces",
    "A row a shot of a recording: a clip by an interval of the recording's file. A part that cannot be decoded has one, too.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        replace(_INTERVAL[0], doc="the recording, by its id in `clips`", nullable=False),
        *_INTERVAL[1:],
        maybe("content_sha256", STR, "hash of the recording's file"),
        maybe("duration_s", F64, "until the end of its last frame", minimum=0),
        maybe("frame_count", I64, "its frames", minimum=0),
        *OUTCOME,
    ),
)

_FOOTAGE = """
    SELECT clips.clip_id, clips.shard, {media}, {none}, clips.status, clips.reason, clips.detail FROM clips
    UNION ALL
    SELECT pieces.clip_id, pieces.shard, {media_of_piece}, {interval}, pieces.status, pieces.reason, pieces.detail
    FROM pieces JOIN clips ON clips.shard = pieces.shard AND clips.clip_id = pieces.recording_id""".format(
    media=", ".join(f"clips.{column.name}" for column in _MEDIA),
    media_of_piece=", ".join(f"{'pieces' if column.name in _OF_THE_PIECE else 'clips'}.{column.name}" for column in _MEDIA),
    none=", ".join(f"NULL AS {column.name}" for column in _INTERVAL),
    interval=", ".join(f"pieces.{column.name}" for column in _INTERVAL),
)
FOOTAGE = TableSchema(
    "footage",
    "A row a clip and a recording: which content, which interval of it, and what the container says. No path, no caption.",
    ("clip_id",),
    (CLIP_ID, SHARD, *_MEDIA, *_INTERVAL, *OUTCOME),
    view=_FOOTAGE,
)

_BESIDE_CONTENTS = """
        JOIN clip_files USING (shard, clip_root, path)
        JOIN clip_rows USING (shard, clip_root, path)
        JOIN clip_roots USING (clip_root)"""
_TOLD_LAST = """[CASE WHEN clip_files.released_id IS NULL THEN '0' ELSE '1' END,
                clip_roots.seen_at, clip_files.seen_at, clip_contents.clip_root, clip_contents.path]"""
RAW_CLIPS = TableSchema(
    "raw_clips",
    "A row a clip and a recording, with the file that holds it and what was said of it: of several files the one that was seen "
    "last. Of a piece it is what was said of its recording.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        *(maybe(column.name, column.dtype, column.doc) for column in _PLACE),
        *_SAID,
        *_MEDIA,
        *_INTERVAL,
        *TERMS,
        *OUTCOME,
    ),
    view="""
    SELECT footage.clip_id, footage.shard, places.place.path, places.place.clip_root,
        {said}, {media}, {terms}, footage.status, footage.reason, footage.detail
    FROM ({footage}) footage LEFT JOIN (
        SELECT clip_contents.clip_shard, clip_contents.clip_id,
            arg_max({{'clip_root': clip_contents.clip_root, 'path': clip_contents.path}},
                [clip_roots.seen_at, clip_files.seen_at, clip_contents.clip_root, clip_contents.path]) AS place,
            arg_max({{{packed}}}, {told_last}) AS told
        FROM clip_contents {beside}
        GROUP BY clip_contents.clip_shard, clip_contents.clip_id
    ) places ON places.clip_shard = footage.shard AND places.clip_id = coalesce(footage.recording_id, footage.clip_id)
    """.format(
        said=", ".join(f"places.told.{column.name}" for column in _SAID),
        media=", ".join(f"footage.{column.name}" for column in (*_MEDIA, *_INTERVAL)),
        footage=_FOOTAGE,
        terms=", ".join(f"places.told.{column.name}" for column in TERMS),
        packed=", ".join(f"'{column.name}': clip_rows.{column.name}" for column in (*_SAID, *TERMS)),
        told_last=_TOLD_LAST,
        beside=_BESIDE_CONTENTS,
    ),
)


def told_by_several(column: str) -> str:
    """SQL that gives `shard`, `clip_id` and a column that is said of files, as `raw_clips` shows it, of some clips only.

    They are those with several files, or with one that another shard holds: of the others the shard's own rows decide.
    """
    return f"""
    SELECT several.clip_shard AS shard, several.clip_id, arg_max({{'said': clip_rows.{column}}}, {_TOLD_LAST}).said AS {column}
    FROM (
        SELECT clip_shard, clip_id FROM (
            SELECT clip_shard, clip_id, count(*) AS files, bool_or(clip_shard <> shard) AS elsewhere
            FROM clip_contents GROUP BY clip_shard, clip_id
        ) WHERE files > 1 OR elsewhere
    ) several
    JOIN clip_contents USING (clip_shard, clip_id) {_BESIDE_CONTENTS}
    GROUP BY several.clip_shard, several.clip_id
    """
