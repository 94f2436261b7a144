"""One contract a table: from it follow the Parquet types, the DuckDB columns, the blocking checks and the documentation.

Belongs here: the tables and their columns. Does not belong here: what a contract can do (`contract`), how a row is computed (the chapters).
"""

import polars as pl

from lafid_assets.contract import Column, TableSchema
from lafid_assets.outcomes import Reason, Status

I16, I32, I64, F32, F64, STR, BOOL = pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Boolean
STATUSES = tuple(Status)
SPEAKING_STATUSES = ("on_screen", "off_screen", "silent", "no_audio", "undecidable")
SPLITS = ("train", "validation", "test")

CLIP_ID = Column("clip_id", STR, "32 hex digits: OpenHumanVid's id, or the head of the content hash for a plain folder")
SHARD = Column("shard", STR, "the clip shard (Dagster partition) that the clip belongs to, for ever")
OUTCOME = (
    Column("status", STR, "how the clip ended this step", one_of=STATUSES),
    Column("reason", STR, "why, from the closed list; NULL when ok", nullable=True, one_of=tuple(Reason)),
    Column("detail", STR, "one sentence for a person; NULL when there is nothing to add", nullable=True),
)
KEEP = Column("keep", BOOL, "whether the clip goes on; the same as status = ok")
ENGINE = (
    Column("engine", STR, "name of the face engine"),
    Column("engine_version", STR, "its version"),
    Column("engine_licence", STR, "the strictest licence of its weights"),
)
RELEASED = tuple(
    Column(name, F64, doc, nullable=True)
    for name, doc in (
        ("luminance_min", "OpenHumanVid's lowest frame luminance, 0-255"),
        ("luminance_max", "OpenHumanVid's highest frame luminance, 0-255"),
        ("blur_min", "OpenHumanVid's lowest sharpness (cpbd), 0-1"),
        ("blur_max", "OpenHumanVid's highest sharpness (cpbd), 0-1"),
        ("aesthetic", "OpenHumanVid's aesthetic score (VILA), gate 4.8"),
        ("technical_score", "OpenHumanVid's technical score (DOVER), gate 0.09"),
        ("global_motion", "OpenHumanVid's motion score (UniMatch), gate 0.5-20"),
    )
)

RAW_CLIPS = TableSchema(
    "raw_clips",
    "A row a clip: the released table joined with the file on disk.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("path", STR, "path of the file relative to the clip root, as the table gives it"),
        Column("clip_root", STR, "folder or URI under which `path` lies"),
        Column("caption", STR, "the released caption, never changed", nullable=True),
        *RELEASED,
        Column("fps", F64, "average frame rate of the video stream, 1/s", nullable=True, minimum=0),
        Column("frame_count", I64, "frames that the container declares", nullable=True, minimum=0),
        Column("width", I32, "px", nullable=True, minimum=1),
        Column("height", I32, "px", nullable=True, minimum=1),
        Column("duration_s", F64, "duration that the container declares", nullable=True, minimum=0),
        Column("video_codec", STR, "codec of the video stream", nullable=True),
        Column("has_audio", BOOL, "whether there is an audio stream", nullable=True),
        Column("file_size_bytes", I64, "size on disk", nullable=True, minimum=0),
        Column("content_sha256", STR, "hash of the whole file: the clip's identity through all tables", nullable=True),
        Column("source", STR, "the dataset that the clip comes from"),
        Column("licence", STR, "the licence of that dataset"),
        *OUTCOME,
    ),
)

FACE_INFO = TableSchema(
    "face_info",
    "A row a face a sampled frame. Scores only, no decision.",
    ("clip_id", "frame_index", "face_index"),
    (
        CLIP_ID,
        SHARD,
        Column("frame_index", I32, "ordinal of the frame in decoding order, from 0", minimum=0),
        Column("pts", I64, "presentation timestamp in units of the time base"),
        Column("time_base_num", I32, "numerator of the time base, s"),
        Column("time_base_den", I32, "denominator of the time base", minimum=1),
        Column("face_index", I16, "faces of a frame from the largest box down, from 0", minimum=0),
        Column("box_x1", F32, "left edge of the face box, px of the full-size frame"),
        Column("box_y1", F32, "top edge, px"),
        Column("box_x2", F32, "right edge, px"),
        Column("box_y2", F32, "bottom edge, px"),
        Column("score", F32, "detector score, the engine's own scale"),
        Column("landmarks_px", pl.List(F32), "x, y of every landmark in turn, px"),
        Column(
            "rotation",
            pl.List(F32),
            "R = Rz(roll) Ry(yaw) Rx(pitch), row by row; NULL when not measurable",
            nullable=True,
        ),
        Column("yaw_deg", F32, "> 0: turned to the image's left", nullable=True, minimum=-180, maximum=180),
        Column("pitch_deg", F32, "> 0: up", nullable=True, minimum=-180, maximum=180),
        Column("roll_deg", F32, "> 0: clockwise in the image", nullable=True, minimum=-180, maximum=180),
        Column("embedding", pl.List(F32), "identity embedding, unit length, the engine's width", nullable=True),
        Column("sharpness", F32, "variance of the Laplacian over the face at 112 px", nullable=True, minimum=0),
        Column("frame_share", F32, "area of the box / area of the frame", minimum=0),
        Column(
            "mouth_opening",
            F32,
            "inner-lip gap / face height, corrected for pose; below 0 where the lips overlap",
            nullable=True,
        ),
        *ENGINE,
    ),
)

FACE_FRAMES = TableSchema(
    "face_frames",
    "A row a sampled frame, with or without faces.",
    ("clip_id", "frame_index"),
    (
        CLIP_ID,
        SHARD,
        Column("frame_index", I32, "ordinal of the frame in decoding order, from 0", minimum=0),
        Column("pts", I64, "presentation timestamp in units of the time base"),
        Column("time_base_num", I32, "numerator of the time base, s"),
        Column("time_base_den", I32, "denominator of the time base", minimum=1),
        Column("time_s", F64, "time since the first frame"),
        Column("width", I32, "px", minimum=1),
        Column("height", I32, "px", minimum=1),
        Column("face_count", I16, "faces found", minimum=0),
        Column("luminance", F32, "mean luma, 0-255", minimum=0, maximum=255),
    ),
)

FACE_CLIPS = TableSchema(
    "face_clips",
    "A row for every clip: how the face analysis of it ended.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("content_sha256", STR, "hash of the file that was analysed", nullable=True),
        Column("frames_asked", I32, "frames that the sampling plan asked for", nullable=True, minimum=0),
        Column("frames_decoded", I32, "frames of the plan that were decoded and analysed", nullable=True, minimum=0),
        Column("frames_with_face", I32, "of these, frames with at least one face", nullable=True, minimum=0),
        Column("faces", I32, "faces in all frames", nullable=True, minimum=0),
        *ENGINE,
        Column("fingerprint", STR, "hash of code version, engine and settings that made the measures"),
        Column("attempts", I16, "how often the clip was tried under this fingerprint", minimum=0),
        *OUTCOME,
    ),
)

POSE_FILTERED_CLIPS = TableSchema(
    "pose_filtered_clips",
    "Face constraints: a row for every clip with its measures and the decision.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("policy", STR, "name of the policy that decided"),
        Column("frames", I32, "sampled frames", nullable=True, minimum=0),
        Column("face_frame_share", F64, "share of sampled frames with a face", nullable=True, minimum=0, maximum=1),
        Column(
            "several_faces_share",
            F64,
            "share of sampled frames with a second prominent face",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column("face_height_share", F64, "median height of the main face / height of the frame", nullable=True, minimum=0),
        Column("sharpness", F64, "median sharpness of the main face", nullable=True, minimum=0),
        Column("posed_frames", I32, "frames in which the main face's pose could be measured", nullable=True, minimum=0),
        Column("yaw_range_deg", F64, "robust range (percentiles by policy) of yaw", nullable=True, minimum=0),
        Column("pitch_range_deg", F64, "robust range of pitch", nullable=True, minimum=0),
        Column("roll_range_deg", F64, "robust range of roll", nullable=True, minimum=0),
        Column("pose_variation_deg", F64, "sum of the three ranges", nullable=True, minimum=0),
        Column("pose_spread_deg", F64, "largest geodesic angle between two poses", nullable=True, minimum=0, maximum=180),
        Column("reasons", pl.List(STR), "every rule that the clip breaks, in the policy's order", nullable=True),
        KEEP,
        *OUTCOME,
    ),
)

ID_CONSISTENT_CLIPS = TableSchema(
    "id_consistent_clips",
    "Identity consistency over time: a row for every clip with its measures and the decision.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("policy", STR, "name of the policy that decided"),
        Column("embedded_frames", I32, "frames whose main face has an embedding", nullable=True, minimum=0),
        Column("similarity_mean", F64, "mean cosine to the clip's medoid", nullable=True, minimum=-1.001, maximum=1.001),
        Column("similarity_min", F64, "lowest cosine to the clip's medoid", nullable=True, minimum=-1.001, maximum=1.001),
        Column("outlier_share", F64, "share of frames below the policy's cosine", nullable=True, minimum=0, maximum=1),
        Column("centroid", pl.List(F32), "mean embedding of the main face, unit length", nullable=True),
        KEEP,
        *OUTCOME,
    ),
)

IDENTITY_CLUSTERS = TableSchema(
    "identity_clusters",
    "Which clips show the same person.",
    ("clip_id",),
    (
        CLIP_ID,
        Column("identity_id", STR, "stable name of the person: the smallest clip id of the cluster when it was first seen"),
        Column("cluster_size", I32, "clips of this person", minimum=1),
        Column("nearest_clip_id", STR, "the most similar other clip", nullable=True),
        Column("nearest_similarity", F64, "its cosine", nullable=True, minimum=-1.001, maximum=1.001),
    ),
    partitioned=False,
)

SPAN = pl.Struct({"start_s": F64, "end_s": F64})
SEGMENT = pl.Struct({"start_s": F64, "end_s": F64, "text": STR, "language": STR, "avg_logprob": F64, "no_speech_prob": F64})

SPEECH_INFO = TableSchema(
    "speech_info",
    "Measures of voice and lips. Scores only, no decision.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("has_audio", BOOL, "whether there is an audio stream", nullable=True),
        Column("audio_duration_s", F64, "length of the audio", nullable=True, minimum=0),
        Column(
            "voice_spans",
            pl.List(SPAN),
            "where the voice activity detector hears a voice, s since the first frame",
            nullable=True,
        ),
        Column("voice_share", F64, "voiced time / audio time", nullable=True, minimum=0, maximum=1.001),
        Column("segments", pl.List(SEGMENT), "transcript; NULL where no speech model is at hand", nullable=True),
        Column("transcriber", STR, "speech model that made the transcript", nullable=True),
        Column("mouth_times_s", pl.List(F64), "times at which the mouth was looked at", nullable=True),
        Column(
            "mouth_openings",
            pl.List(F64),
            "mouth opening at these times, NULL where it could not be measured",
            nullable=True,
        ),
        Column("mouth_range", F64, "robust range of the opening", nullable=True, minimum=0),
        Column(
            "mouth_measurable_share",
            F64,
            "share of the looks that gave an opening",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column("mouth_yaw_abs_median_deg", F64, "median |yaw| over the looks", nullable=True, minimum=0, maximum=180),
        Column("face_share", F64, "share of the looks that found a face", nullable=True, minimum=0, maximum=1),
        Column(
            "several_faces_share",
            F64,
            "share of the looks that found more than one",
            nullable=True,
            minimum=0,
            maximum=1,
        ),
        Column(
            "lip_audio_correlation",
            F64,
            "best correlation of opening and sound envelope",
            nullable=True,
            minimum=-1.001,
            maximum=1.001,
        ),
        Column("lip_audio_offset_s", F64, "offset at which it is reached; > 0: the sound comes later", nullable=True),
        *OUTCOME,
    ),
)

SPEECH_TAGGED_CLIPS = TableSchema(
    "speech_tagged_clips",
    "Who speaks, decided from `speech_info` alone, and the caption that says so.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("policy", STR, "name of the policy that decided"),
        Column(
            "speaking_status",
            STR,
            "who speaks; NULL when the clip did not come so far",
            nullable=True,
            one_of=SPEAKING_STATUSES,
        ),
        Column("speaking_reason", STR, "the measure that decided", nullable=True),
        Column("refined_caption", STR, "the caption with the speaking sentence", nullable=True),
        Column("speaking_sentence", STR, "that sentence alone", nullable=True),
        Column("removed_sentences", pl.List(STR), "what contradicted it and was taken out", nullable=True),
        Column("rewriter", STR, "what wrote the refined caption", nullable=True),
        *OUTCOME,
    ),
)

REFERENCE = pl.Struct(
    {
        "frame_index": I32,
        "pts": I64,
        "yaw_deg": F32,
        "pitch_deg": F32,
        "roll_deg": F32,
        "box_x1": F32,
        "box_y1": F32,
        "box_x2": F32,
        "box_y2": F32,
        "sharpness": F32,
    }
)

LAFID_DATASET = TableSchema(
    "lafid_dataset",
    "The training table: a row a kept clip.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("path", STR, "path of the file relative to the clip root"),
        Column("clip_root", STR, "folder or URI under which `path` lies"),
        Column("content_sha256", STR, "hash of the file"),
        Column("duration_s", F64, "duration that the container declares", minimum=0),
        Column("caption", STR, "the released caption", nullable=True),
        Column(
            "refined_caption",
            STR,
            "the caption to train on; NULL when there is none and nothing can be said",
            nullable=True,
        ),
        Column("speaking_status", STR, "who speaks", one_of=SPEAKING_STATUSES),
        Column("identity_id", STR, "the person"),
        Column("split", STR, "train, validation or test: whole identities only", one_of=SPLITS),
        Column("pose_variation_deg", F64, "sum of the three pose ranges", minimum=0),
        Column("references", pl.List(REFERENCE), "the sharpest face of every yaw bin"),
        Column("identity_embedding", pl.List(F32), "mean embedding of the clip's face, unit length"),
        *ENGINE,
        Column("source", STR, "the dataset that the clip comes from"),
        Column("licence", STR, "the licence of that dataset"),
        Column("dataset_version", STR, "hash over contents, decisions, captions, splits and references"),
    ),
    partitioned=False,
)

DATASET_REPORT = TableSchema(
    "dataset_report",
    "The funnel: how many clips ended how. The page and the pictures lie beside it in the store.",
    ("status", "step", "reason"),
    (
        Column("status", STR, "`kept`, or how the clips ended", one_of=("kept", *STATUSES)),
        Column("step", STR, "the first step that they did not pass; empty for kept clips"),
        Column("reason", STR, "why; empty for kept clips"),
        Column("clips", I64, "how many", minimum=0),
        Column("dataset_version", STR, "the version that this funnel belongs to"),
    ),
    partitioned=False,
)

TRAINING_LATENTS = TableSchema(
    "training_latents",
    "Everything frozen, precomputed once a clip.",
    ("clip_id",),
    (
        CLIP_ID,
        Column("cache_key", STR, "hash of content, caption, reference and encoders"),
        Column("latents_path", STR, "path of the safetensors file in the store"),
        Column("frames", I32, "frames encoded", minimum=1),
        Column("height", I32, "px", minimum=1),
        Column("width", I32, "px", minimum=1),
        Column("file_size_bytes", I64, "size of the file", minimum=1),
        Column("split", STR, "as in the dataset", one_of=SPLITS),
        Column("encoders_fingerprint", STR, "hash of the frozen encoders"),
        Column("dataset_version", STR, "the version that the clips come from"),
    ),
    partitioned=False,
)

FUSION_DIT = TableSchema(
    "fusion_dit",
    "The trained checkpoint.",
    ("checkpoint_sha256",),
    (
        Column("checkpoint_sha256", STR, "hash over the checkpoint's parts"),
        Column("checkpoint_path", STR, "its folder in the store"),
        Column("base_path", STR, "folder of the base model in the store"),
        Column("preset", STR, "the model's preset"),
        Column("steps", I32, "optimizer steps", minimum=0),
        Column("loss_before", F64, "loss on the fixed triples before training", minimum=0),
        Column("loss_after", F64, "loss on the same triples after training", minimum=0),
        Column("train_clips", I32, "clips that it was trained on", minimum=1),
        Column("dataset_version", STR, "the version that it was trained on"),
    ),
    partitioned=False,
)

MODEL_EVALUATION = TableSchema(
    "model_evaluation",
    "Measures of the checkpoint on identities that it never saw.",
    ("checkpoint_sha256", "split", "metric"),
    (
        Column("checkpoint_sha256", STR, "hash over the checkpoint's parts"),
        Column("split", STR, "which clips", one_of=SPLITS),
        Column("metric", STR, "name of the measure, with its unit"),
        Column("value", F64, "NULL where it could not be measured", nullable=True),
        Column("clips", I32, "clips that it was measured on", minimum=0),
    ),
    partitioned=False,
)

REGISTERED_MODEL = TableSchema(
    "registered_model",
    "The MLflow version.",
    ("model_name", "model_version"),
    (
        Column("model_name", STR, "name in the registry"),
        Column("model_version", STR, "version in the registry"),
        Column("alias", STR, "alias that points to it; NULL when the gate did not open", nullable=True),
        Column("model_uri", STR, "what to pull"),
        Column("gate", STR, "`passed`, or what failed"),
        Column("checkpoint_sha256", STR, "hash over the checkpoint's parts"),
        Column("dataset_version", STR, "the version that it was trained on"),
    ),
    partitioned=False,
)

TABLES: tuple[TableSchema, ...] = (
    RAW_CLIPS,
    FACE_INFO,
    FACE_FRAMES,
    FACE_CLIPS,
    POSE_FILTERED_CLIPS,
    ID_CONSISTENT_CLIPS,
    IDENTITY_CLUSTERS,
    SPEECH_INFO,
    SPEECH_TAGGED_CLIPS,
    LAFID_DATASET,
    DATASET_REPORT,
    TRAINING_LATENTS,
    FUSION_DIT,
    MODEL_EVALUATION,
    REGISTERED_MODEL,
)
BY_NAME: dict[str, TableSchema] = {table.name: table for table in TABLES}

# A clip's outcome is decided by the first of these tables in which it is not ok.
OUTCOME_TABLES = (
    RAW_CLIPS.name,
    FACE_CLIPS.name,
    POSE_FILTERED_CLIPS.name,
    ID_CONSISTENT_CLIPS.name,
    SPEECH_INFO.name,
    SPEECH_TAGGED_CLIPS.name,
)
