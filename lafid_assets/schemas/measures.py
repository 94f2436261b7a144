"""What is measured of a clip's pictures and faces. Scores only; sound is in `speech`, decisions in `decisions`."""

import polars as pl

from lafid_assets.schemas.columns import (
    BOOL,
    BOUNDARY_KINDS,
    BOX,
    CLIP_ID,
    ENGINE,
    F32,
    F64,
    I16,
    I32,
    I64,
    OUTCOME,
    SHARD,
    STR,
    TIER,
    TIERS,
    maybe,
    share,
)
from lafid_assets.steps.contract import Column, TableSchema

_TIME_BASE = (
    Column("time_base_num", I32, "numerator of the time base, s"),
    Column("time_base_den", I32, "denominator of the time base", minimum=1),
)
_MOMENT = (Column("pts", I64, "presentation timestamp in units of the time base"), *_TIME_BASE)
_FACE_KEY = (
    Column("frame_index", I32, "ordinal of the frame in decoding order, from 0", minimum=0),
    Column("face_index", I16, "faces of a frame from the largest box down, from 0", minimum=0),
)

EXPRESSIONS = ("mouth_opening", "eye_opening", "brow_height", "mouth_width")

FACE_INFO = TableSchema(
    "face_info",
    "A row a face a sampled frame. Scores only, no decision.",
    ("clip_id", "frame_index", "face_index"),
    (
        CLIP_ID,
        SHARD,
        _FACE_KEY[0],
        *_MOMENT,
        _FACE_KEY[1],
        TIER,
        maybe("track_id", I16, "the same face through the clip, from 0; NULL in the scan", minimum=0),
        *BOX,
        maybe(
            "head_height_px",
            F32,
            "height from hairline to chin by eyes, nose and mouth, px: the same for every engine, as boxes are not; NULL where "
            "these do not span a face",
            minimum=0,
        ),
        Column("score", F32, "detector score, the engine's own scale"),
        Column("landmarks_px", pl.List(F32), "x, y of every landmark in turn, px"),
        maybe("rotation", pl.List(F32), "R = Rz(roll) Ry(yaw) Rx(pitch), row by row; NULL when not measurable"),
        maybe("yaw_deg", F32, "> 0: turned to the image's left", minimum=-180, maximum=180),
        maybe("pitch_deg", F32, "> 0: up", minimum=-180, maximum=180),
        maybe("roll_deg", F32, "> 0: clockwise in the image", minimum=-180, maximum=180),
        maybe("coarse_yaw_deg", F32, "yaw guessed from eyes, nose and mouth corners alone", minimum=-90, maximum=90),
        maybe("sharpness", F32, "variance of the Laplacian over the face at 112 px", minimum=0),
        Column("frame_share", F32, "area of the box / area of the frame", minimum=0),
        maybe("mouth_opening", F32, "inner-lip gap / face height, corrected for pose; below 0 where the lips overlap"),
        maybe("eye_opening", F32, "gap of the lids / face height, mean of both eyes, corrected for pose"),
        maybe("brow_height", F32, "height of the brows above the eyes / face height, corrected for pose"),
        maybe("mouth_width", F32, "distance of the mouth's corners / face height, corrected for pose"),
        *ENGINE,
    ),
)

FACE_EMBEDDINGS = TableSchema(
    "face_embeddings",
    "The identity embeddings of the faces in `face_info`: most of the bytes, and few questions need them.",
    ("clip_id", "frame_index", "face_index"),
    (CLIP_ID, SHARD, *_FACE_KEY, Column("embedding", pl.List(F32), "unit length, the engine's width")),
)

FACES = TableSchema(
    "faces",
    "`face_info` with its embeddings.",
    ("clip_id", "frame_index", "face_index"),
    (*FACE_INFO.columns, maybe("embedding", pl.List(F32), "identity embedding, unit length, the engine's width")),
    view="SELECT face_info.*, face_embeddings.embedding FROM face_info "
    "LEFT JOIN face_embeddings USING (shard, clip_id, frame_index, face_index)",
)

FACE_FRAMES = TableSchema(
    "face_frames",
    "A row a sampled frame, with or without faces.",
    ("clip_id", "frame_index"),
    (
        CLIP_ID,
        SHARD,
        TIER,
        _FACE_KEY[0],
        *_MOMENT,
        Column("time_s", F64, "time since the first frame"),
        Column("width", I32, "px", minimum=1),
        Column("height", I32, "px", minimum=1),
        Column("face_count", I16, "faces found", minimum=0),
        Column("luminance", F32, "mean luma, 0-255", minimum=0, maximum=255),
        maybe(
            "blur",
            F32,
            "share of sharp edges (CPBD), 0 blurred to 1 sharp, of some frames of a surveyed clip; NULL of the others and of "
            "smooth ones",
            minimum=0,
            maximum=1,
        ),
        *ENGINE,
    ),
)

PICTURE_HASHES = TableSchema(
    "picture_hashes",
    "A row a moment by which a copy of a surveyed clip is known again: every sampled frame, of long clips further ones between "
    "them; none of flat pictures.",
    ("clip_id", "pts"),
    (
        CLIP_ID,
        SHARD,
        Column("pts", I64, "presentation timestamp, as in `face_frames`"),
        Column("time_s", F64, "time since the first frame"),
        Column("picture_hash", I64, "perceptual hash of the frame, 63 bits"),
        maybe("crop_hashes", pl.List(I64), "the same of crops of it that a copy may be, the whole first; NULL of most moments"),
    ),
)

SHOT_BOUNDARIES = TableSchema(
    "shot_boundaries",
    "A row a moment that looks like a cut or a gradual transition, of clips that were surveyed and of long files, which are "
    "searched first. Scores only, no decision.",
    ("clip_id", "boundary_index"),
    (
        CLIP_ID,
        SHARD,
        Column("boundary_index", I32, "boundaries of a clip in order of time, from 0", minimum=0),
        Column("kind", STR, "hard: between two frames; gradual: over several, which are mixtures", one_of=BOUNDARY_KINDS),
        Column("last_pts_before", I64, "last frame of the shot before, timestamp on the clip's rising clock"),
        Column("first_pts_behind", I64, "first frame of the shot behind"),
        *_TIME_BASE,
        Column("last_s_before", F64, "the same as `last_pts_before`, since the first frame", minimum=0),
        Column("first_s_behind", F64, "the same as `first_pts_behind`, since the first frame", minimum=0),
        Column("score", F64, "what changes across the moment / what changes around it; not below 1", minimum=1),
    ),
)

FACE_CLIPS = TableSchema(
    "face_clips",
    "A row for every clip: how the face analysis of it ended.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        maybe("content_sha256", STR, "hash of the file that was analysed"),
        maybe("tier", STR, "the deepest tier that the clip reached", one_of=TIERS),
        maybe("scan_verdict", STR, "why the scan found the clip hopeless; NULL when it did not"),
        Column("audited", BOOL, "surveyed although the scan found it hopeless, to measure the scan"),
        maybe("scan_margins_sha256", STR, "the margins of the scan, as in `policy_settings`; NULL when it was off"),
        maybe("frames_asked", I32, "frames that the sampling plan asked for", minimum=0),
        maybe("frames_decoded", I32, "frames of the plan that were decoded and analysed", minimum=0),
        maybe("frames_with_face", I32, "of these, frames with at least one face", minimum=0),
        maybe("faces", I32, "faces in all frames", minimum=0),
        maybe(
            "hard_cut_score",
            F64,
            "highest score of a hard cut in `shot_boundaries`, 0 without one; NULL where the clip was not searched",
            minimum=0,
        ),
        maybe("gradual_cut_score", F64, "the same of a gradual transition", minimum=0),
        maybe("luminance_min", F64, "lowest `luminance` of a surveyed clip's frames", minimum=0, maximum=255),
        maybe("luminance_max", F64, "the highest", minimum=0, maximum=255),
        share("blur_min", "lowest `blur` of its frames"),
        share("blur_max", "the highest"),
        maybe(
            "measured_motion",
            F64,
            "mean optical flow of a surveyed clip, px of a 576 x 320 picture over ten frames of 24 a second; NULL of clips "
            "too short or too slow to tell",
            minimum=0,
        ),
        *(
            maybe(f"{name}_range", F32, f"robust range of `{name}` of the main face, of one engine's scale", minimum=0)
            for name in EXPRESSIONS
        ),
        maybe(
            "expression_spread",
            F32,
            "how far the main face's embeddings lie apart at like poses: 95th percentile of 1 - cosine over pairs within 10 "
            "degrees; the engine's own scale",
            minimum=0,
            maximum=2,
        ),
        *ENGINE,
        Column("fingerprint", STR, "hash of code version, engine and settings that made the measures"),
        Column("attempts", I16, "how often the clip was tried under this fingerprint", minimum=0),
        *OUTCOME,
    ),
)

ORIGINS = ("released", "measured")
_ORIGIN = "where {} comes from: the released table, or this survey where the table lacks it; NULL where neither has it"
_ELSE = "CASE WHEN {released} IS NOT NULL THEN told.{name} ELSE seen.{name} END AS {name}"
_WHENCE = "CASE WHEN {released} IS NOT NULL THEN 'released' WHEN seen.{name}_min IS NOT NULL THEN 'measured' END AS {name}_origin"
_RELEASED_PAIR = "CASE WHEN told.recording_id IS NULL THEN coalesce(told.{name}_min, told.{name}_max) END"
"""What was released of a recording is said of all its shots together."""

PICTURE_MEASURES = TableSchema(
    "picture_measures",
    "What is known of a clip's pictures as a whole: as it was released, else as it was measured here.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        maybe("duration_s", F64, "as in `footage`", minimum=0),
        maybe("shots_in_file", I32, "as in `footage`", minimum=1),
        maybe("luminance_min", F64, "lowest luminance of a frame, 0-255"),
        maybe("luminance_max", F64, "highest luminance of a frame"),
        maybe("luminance_origin", STR, _ORIGIN.format("the luminance"), one_of=ORIGINS),
        maybe("blur_min", F64, "lowest share of sharp edges of a frame (CPBD), 0-1"),
        maybe("blur_max", F64, "the highest"),
        maybe("blur_origin", STR, _ORIGIN.format("it"), one_of=ORIGINS),
        maybe("aesthetic", F64, "as released"),
        maybe("technical_score", F64, "as released"),
        maybe("global_motion", F64, "as released"),
        maybe(
            "measured_motion", F64, "as in `face_clips`, where no `global_motion` was released: another measure of the same thing"
        ),
    ),
    view="SELECT told.clip_id, told.shard, told.duration_s, told.shots_in_file, "
    + ", ".join(
        part
        for name in ("luminance", "blur")
        for released in [_RELEASED_PAIR.format(name=name)]
        for part in (
            _ELSE.format(released=released, name=f"{name}_min"),
            _ELSE.format(released=released, name=f"{name}_max"),
            _WHENCE.format(released=released, name=name),
        )
    )
    + ", told.aesthetic, told.technical_score, "
    "CASE WHEN told.recording_id IS NULL THEN told.global_motion END AS global_motion, "
    "CASE WHEN told.recording_id IS NOT NULL OR told.global_motion IS NULL THEN seen.measured_motion END AS measured_motion "
    "FROM raw_clips told LEFT JOIN face_clips seen ON seen.shard = told.shard AND seen.clip_id = told.clip_id",
)
