"""What comes out: the dataset, its report, and the model with its measures."""

from typing import get_args

import polars as pl

from lafid_assets.schemas.columns import (
    BOOL,
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
    SPEAKING_STATUSES,
    SPLITS,
    STATUSES,
    STR,
    TERMS,
    WINDOW,
    DataType,
    maybe,
)
from lafid_assets.steps.contract import Column, TableSchema
from model.encoding.head_mask import MASKS
from model.presets import Publish

_BOX_SIDES: dict[str, DataType] = dict.fromkeys((column.name for column in BOX), F32)
_ANGLES: dict[str, DataType] = dict.fromkeys(("yaw_deg", "pitch_deg", "roll_deg"), F32)
REFERENCE = pl.Struct(
    {"frame_index": I32, "pts": I64}
    | _ANGLES
    | _BOX_SIDES
    | {"sharpness": F32, "face_index": I16, "rotation": pl.List(F32), "landmarks_px": pl.List(F32)}
    | dict.fromkeys(("face_path", "head_path", "mask", "mask_sha256"), STR)
)
FACE_PLACE = pl.Struct({"time_s": F64, "frame_index": I32, "face_index": I16} | _BOX_SIDES | _ANGLES)
CACHED_PART = pl.Struct({"part": STR, "key": STR, "shard": STR})
CROSS_REFERENCE = pl.Struct({"clip_id": STR, "reference_index": I16})
OUTCOME_COUNT = pl.Struct({"status": STR, "step": STR, "reason": STR, "clips": I64})

PUBLISHED = get_args(Publish)

REFERENCE_CROPS = TableSchema(
    "reference_crops",
    "Reference faces of every clip that is kept, spread over poses, expressions and time, cut out. A row a reference.",
    ("clip_id", "reference_index"),
    (
        CLIP_ID,
        SHARD,
        Column(
            "reference_index",
            I16,
            "from 0, a sharp frontal face; each further one is as far as can be from all before it: the first k are well spread",
            minimum=0,
        ),
        maybe("pose_gap_deg", F32, "angle to the nearest reference before it; NULL of the first", minimum=0, maximum=180),
        maybe(
            "expression_gap",
            F32,
            "1 - cosine to the most similar reference before it, by the engine's embeddings; NULL of the first",
            minimum=0,
            maximum=2,
        ),
        Column("frame_index", I32, "ordinal of the frame in decoding order, from 0", minimum=0),
        Column("pts", I64, "presentation timestamp in units of the clip's time base"),
        Column("face_index", I16, "which face of that frame, from the largest down", minimum=0),
        Column("yaw_deg", F32, "> 0: turned to the image's left", minimum=-180, maximum=180),
        Column("pitch_deg", F32, "> 0: up", minimum=-180, maximum=180),
        Column("roll_deg", F32, "> 0: clockwise in the image", minimum=-180, maximum=180),
        maybe("rotation", pl.List(F32), "R = Rz(roll) Ry(yaw) Rx(pitch), row by row"),
        *BOX,
        Column("sharpness", F32, "variance of the Laplacian over the face at 112 px", minimum=0),
        Column("landmarks_px", pl.List(F32), "x, y of every landmark in turn, px; none where the engine finds none"),
        maybe("face_path", STR, "PNG in the store: the face, a square 1.5 times the box; NULL where cutting failed"),
        maybe("head_path", STR, "PNG in the store: head and shoulders on white; NULL where cutting failed"),
        Column("mask", STR, "what cut the head out: oval, or the name of a matting network", one_of=MASKS),
        maybe("mask_sha256", STR, "hash of that network's weights; NULL of the oval"),
        maybe("mask_licence", STR, "their licence; NULL of the oval"),
        *OUTCOME,
    ),
)

LAFID_DATASET = TableSchema(
    "lafid_dataset",
    "The training table: a row a kept clip.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("path", STR, "path of the file relative to the clip root"),
        Column("clip_root", STR, "folder under which `path` lies"),
        Column("content_sha256", STR, "hash of the file"),
        maybe("recording_id", STR, "the recording that the clip is a shot of; NULL: it is the whole file"),
        maybe("first_pts", I64, "first frame, timestamp on the file's rising clock; NULL: it is the whole file"),
        maybe("last_pts", I64, "last frame; NULL: it is the whole file"),
        maybe("keyframe_pts", I64, "where decoding may begin to reach it; NULL: at the file's beginning"),
        maybe("start_s", F64, "its first frame, s since the recording's first; NULL: it is the whole file"),
        Column("duration_s", F64, "duration that the container declares; of a shot until the end of its last frame", minimum=0),
        Column("width", I32, "px, upright", minimum=1),
        Column("height", I32, "px, upright", minimum=1),
        maybe("caption", STR, "the released caption; of a shot that of the whole recording"),
        maybe("refined_caption", STR, "the caption to train on; NULL when there is none and nothing can be said"),
        Column("speaking_status", STR, "who speaks", one_of=SPEAKING_STATUSES),
        maybe("speaking_sentence", STR, "the sentence of the refined caption that says so; NULL: it says nothing"),
        Column("identity_id", STR, "the person"),
        Column("split_key", STR, "what the split is drawn from, as in `identity_clusters`"),
        Column("split", STR, "train, validation or test: whole identities only", one_of=SPLITS),
        Column("pose_variation_deg", F64, "sum of the three pose ranges", minimum=0),
        *WINDOW,
        Column("references", pl.List(REFERENCE), "spread faces as `reference_crops` orders them, with their crops in the store"),
        Column(
            "cross_references",
            pl.List(CROSS_REFERENCE),
            "references of other clips of the same person: the clip, and which of its references (from 0)",
        ),
        Column(
            "face_track",
            pl.List(FACE_PLACE),
            "which face of every analysed frame was the main one, where it was, px of the full-size frame, and how it was "
            "turned; NULL face and sides where it was not seen, NULL angles where its pose was not measured",
        ),
        Column("identity_embedding", pl.List(F32), "mean embedding of the clip's face, unit length"),
        *ENGINE,
        *TERMS,
        Column(
            "model_licences",
            pl.List(STR),
            "`<model>: <licence>` of what measured the clip, wrote down its words and cut out its heads, sorted",
        ),
        Column("dataset_version", STR, "hash over contents, decisions, captions, splits, windows and references"),
    ),
    partitioned=False,
)

DATASET_VERSION_ROWS = TableSchema(
    "dataset_version_rows",
    "The rows that `lafid_dataset` had in each of its versions.",
    ("dataset_version", "clip_id"),
    LAFID_DATASET.columns,
    partitioned=False,
    appended=True,
)

DATASET_OUTCOMES = TableSchema(
    "dataset_outcomes",
    "How every clip ended, version by version: a row where it ended otherwise than in the version before.",
    ("clip_id", "since"),
    (
        CLIP_ID,
        Column("since", I32, "the number of the version from which on it ended so", minimum=1),
        maybe("status", STR, "`kept`, or how it ended; NULL where it does not come in any more", one_of=("kept", *STATUSES)),
        maybe("step", STR, "the first step that it did not pass; empty for kept clips"),
        maybe("reason", STR, "why; empty for kept clips"),
    ),
    partitioned=False,
    appended=True,
)

DATASET_VERSIONS = TableSchema(
    "dataset_versions",
    "Every version of the dataset that there was, with its funnel. Its rows are in `dataset_version_rows`.",
    ("dataset_version",),
    (
        Column("dataset_version", STR, "hash over contents, decisions, captions, splits, references, policies and models"),
        Column("number", I32, "1 for the first version of this lake", minimum=1),
        Column("made_at", STR, "when it was first put together, ISO 8601, UTC"),
        Column("snapshot", I64, "the snapshot of the lake that was read; it may have expired", minimum=0),
        Column("clips", I64, "kept clips when it was made", minimum=0),
        Column("identities", I64, "persons in them", minimum=0),
        Column("clips_in", I64, "clips that came in", minimum=0),
        Column("funnel", pl.List(OUTCOME_COUNT), "how many clips ended how, as in `dataset_report`"),
        Column("decided_by", STR, "policies and measuring models, JSON: what the version depends on beside the clips"),
        maybe("settings_sha256", STR, "hash of what the run was told that decides tables, in `policy_settings`"),
        Column("erased_clips", I64, "of its kept clips, those that `lafid forget` has taken out since", minimum=0),
    ),
    partitioned=False,
    appended=True,
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
    "Everything frozen, precomputed once a clip: a row for every clip of the dataset, cached or not.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("split", STR, "as in the dataset", one_of=SPLITS),
        maybe("frames", I32, "frames encoded; NULL where the clip is not cached", minimum=1),
        maybe("height", I32, "px", minimum=1),
        maybe("width", I32, "px", minimum=1),
        maybe(
            "start_s",
            F64,
            "where the encoded window begins, s since the clip's first frame; NULL where the clip is not cached",
            minimum=0,
        ),
        maybe(
            "first_frame_measured",
            BOOL,
            "whether the face of the window's first frame was measured; where not, the view nearest in time stands for it; NULL "
            "where the clip is not cached",
        ),
        Column(
            "angles_deg",
            pl.List(pl.List(F32)),
            "yaw, pitch, roll of each of its views, in order; last that of the window's first frame",
        ),
        Column("fps", F64, "frames a second of what is encoded", minimum=0),
        Column("parts", pl.List(CACHED_PART), "what is cached of it: the part, its key, and its file below latents/shards"),
        Column("base_sha256", STR, "hash of the base whose encoders were used"),
        Column("encoders_fingerprint", STR, "hash of the frozen encoders"),
        maybe("semantic_encoder", STR, "semantic encoder: its name in the model store, or its folder; NULL: the base's own"),
        Column("dataset_version", STR, "the version that the clips come from"),
        *OUTCOME,
    ),
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
        Column("steps", I32, "optimizer steps of the training", minimum=0),
        Column(
            "published",
            STR,
            "which of its checkpoints this is: the last or the best of those judged, as trained or (ema) averaged",
            one_of=PUBLISHED,
        ),
        Column("step", I32, "optimizer steps after which it was taken", minimum=0),
        Column("loss_before", F64, "loss on the fixed triples before training", minimum=0),
        Column("loss_after", F64, "loss on the same triples at this step", minimum=0),
        maybe("validation_loss", F64, "loss on fixed triples of `validated_on`; NULL: none was judged", minimum=0),
        maybe("validated_on", STR, "the split of that loss; train where validation is empty", one_of=SPLITS),
        maybe(
            "likeness",
            F64,
            "mean cosine of the faces that it drew of held-out persons to theirs, a frame without a face counting 0; NULL: no "
            "frame shows a face, or none was drawn",
            minimum=-1,
            maximum=1,
        ),
        maybe("judged_by", STR, "what decided which checkpoint is best; NULL: none was judged", one_of=("likeness", "loss")),
        Column("train_clips", I32, "clips whose videos it was trained on: without those that filled no batch", minimum=1),
        Column("dataset_version", STR, "the version that it was trained on"),
        Column("mlflow_run_id", STR, "MLflow's run of the training: its curves, videos and LoggedModels"),
    ),
    partitioned=False,
)
