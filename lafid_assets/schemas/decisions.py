"""What is decided about a clip from stored measures."""

import polars as pl

from lafid_assets.contract import Column, TableSchema
from lafid_assets.schemas.columns import CLIP_ID, F32, F64, I32, KEEP, OUTCOME, SHARD, SPEAKING_STATUSES, STR

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
        Column("faces_in_frame", I32, "most faces of any size in one frame", nullable=True, minimum=0),
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
