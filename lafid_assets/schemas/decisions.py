"""What is decided about a clip from stored measures."""

import polars as pl

from lafid_assets.schemas.columns import (
    BOOL,
    CLIP_ID,
    ENGINE,
    F32,
    F64,
    I32,
    KEEP,
    OUTCOME,
    SHARD,
    SPEAKING_STATUSES,
    STR,
    WINDOW,
    maybe,
    share,
)
from lafid_assets.steps.contract import Column, TableSchema

POLICY_SETTINGS = TableSchema(
    "policy_settings",
    "What policies and other settings said, once for all rows that name them by their hash.",
    ("policy_sha256",),
    (
        Column("policy_sha256", STR, "hash of `settings`"),
        Column("settings", STR, "all fields, JSON; of the identity policy without the shipped curves"),
    ),
    partitioned=False,
    appended=True,
)
POLICY_SHA256 = Column("policy_sha256", STR, "all fields of that policy, as in `policy_settings`")

POSE_FILTERED_CLIPS = TableSchema(
    "pose_filtered_clips",
    "Face constraints: a row for every clip with its measures and the decision.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("policy", STR, "name of the policy that decided"),
        POLICY_SHA256,
        maybe("hard_cut_score", F64, "as in `face_clips`", minimum=0),
        maybe("gradual_cut_score", F64, "as in `face_clips`", minimum=0),
        maybe("frames", I32, "sampled frames", minimum=0),
        share("face_frame_share", "share of sampled frames with a face"),
        share("several_faces_share", "share of sampled frames with a second prominent face"),
        maybe("faces_in_frame", I32, "most faces of any size in one frame", minimum=0),
        maybe("face_height_share", F64, "median `head_height_px` of the main face / shorter side of the frame", minimum=0),
        maybe("sharpness", F64, "median sharpness of the main face", minimum=0),
        maybe("posed_frames", I32, "frames in which the main face's pose could be measured", minimum=0),
        share("posed_share", "of the frames with a face, the share of these"),
        maybe("yaw_range_deg", F64, "robust range (percentiles by policy) of yaw", minimum=0),
        maybe("pitch_range_deg", F64, "robust range of pitch", minimum=0),
        maybe("roll_range_deg", F64, "robust range of roll", minimum=0),
        maybe("pose_variation_deg", F64, "sum of the three ranges", minimum=0),
        maybe("pose_spread_deg", F64, "largest geodesic angle between two poses", minimum=0, maximum=180),
        *WINDOW,
        maybe("reasons", pl.List(STR), "every rule that the clip breaks, in the policy's order"),
        maybe("unjudged", pl.List(STR), "every rule of the policy whose measures the clip lacks: not judged"),
        KEEP,
        *OUTCOME,
    ),
)

IDENTITY_BREAKS = ("none", "hidden_face", "hard_cut", "second_person", "unclear")

_IDENTITY_MEASURES = (
    maybe("embedded_frames", I32, "frames whose leading face has an embedding", minimum=0),
    maybe("similarity_mean", F64, "mean cosine to the clip's medoid", minimum=-1.001, maximum=1.001),
    maybe("similarity_min", F64, "lowest cosine to the clip's medoid", minimum=-1.001, maximum=1.001),
    maybe("pose_gap_max_deg", F64, "largest angle to the medoid's pose", minimum=0, maximum=180),
    maybe("residual_mean", F64, "mean of (cosine - expected at the pose gap) / spread, to the medoid"),
    maybe("residual_min", F64, "lowest of these"),
    share("outlier_share", "share of frames that do not look like the person"),
    maybe("hidden_frames", I32, "frames set aside because the face is hidden or blurred", minimum=0),
    maybe("identity_break", STR, "why frames do not look like the person", one_of=IDENTITY_BREAKS),
    maybe("identity_break_frame", I32, "where the longest such run begins (or ends, at frame 0)", minimum=0),
    maybe("centroid", pl.List(F32), "mean embedding, sharp and frontal frames weighing more, unit length"),
)
IDENTITY_MEASURES = tuple(column.name for column in _IDENTITY_MEASURES)

ID_CONSISTENT_CLIPS = TableSchema(
    "id_consistent_clips",
    "Identity consistency over time: a row for every clip with its measures and the decision.",
    ("clip_id",),
    (CLIP_ID, SHARD, Column("policy", STR, "the rule that decided"), POLICY_SHA256, *_IDENTITY_MEASURES, KEEP, *OUTCOME),
)

SIMILARITY_BY_POSE_GAP = TableSchema(
    "similarity_by_pose_gap",
    "How alike two faces of one person are at a pose gap: the curve that `id_consistent_clips` judged a shard by.",
    ("shard", "engine", "engine_version", "gap_from_deg"),
    (
        SHARD,
        *ENGINE[:2],
        Column("gap_from_deg", F64, "geodesic angle between the poses, from", minimum=0, maximum=180),
        Column("gap_to_deg", F64, "up to", minimum=0, maximum=180),
        Column("pairs", I32, "pairs of one track in the shard", minimum=0),
        maybe("measured", F64, "their median cosine", minimum=-1.001, maximum=1.001),
        maybe("measured_spread", F64, "median - 16th percentile", minimum=0),
        Column("expected", F64, "pooled with the shipped figures, never rising", minimum=-1.001, maximum=1.001),
        Column("spread", F64, "pooled with the shipped figures", minimum=0),
        Column("strangers", F64, "cosine below which no pose excuses a face", minimum=0, maximum=1),
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
        Column("split_key", STR, "what the split is drawn from; stays with the person when clusters merge or part"),
        maybe("least_similarity", F64, "lowest cosine of two of the clips", minimum=-1.001, maximum=1.001),
        maybe("nearest_clip_id", STR, "the most similar other clip; NULL when none comes near"),
        maybe("nearest_similarity", F64, "its cosine", minimum=-1.001, maximum=1.001),
        Column("threshold", F64, "cosine that groups of clips had to reach", minimum=0, maximum=1),
        Column("threshold_origin", STR, "where strangers were measured", one_of=("clips", "shipped")),
        Column("search_digest", STR, "hash of centroid, engine and search settings: what the stored edges are valid for"),
        Column("clusters_version", I32, "counts the changes of the clustering, as in `identity_history`", minimum=1),
    ),
    partitioned=False,
)

IDENTITY_EDGES = TableSchema(
    "identity_edges",
    "Pairs of near clips, and what became of them: the `joined` rows of a person are the merges that made it.",
    ("clip_id_a", "clip_id_b"),
    (
        Column("clip_id_a", STR, "the smaller clip id"),
        Column("clip_id_b", STR, "the larger one"),
        Column("similarity", F32, "cosine of the two centroids", minimum=-1.001, maximum=1.001),
        Column("mutual", BOOL, "each is among the nearest of the other"),
        Column(
            "verdict",
            STR,
            "joined: united two groups; inside: both already in one; below_threshold, too_wide: the groups stayed apart",
            one_of=("joined", "inside", "below_threshold", "too_wide"),
        ),
        maybe(
            "group_similarity",
            F32,
            "cosine of the two groups' mean directions when that was decided; NULL for `inside`",
            minimum=-1.001,
            maximum=1.001,
        ),
    ),
    partitioned=False,
)

IDENTITY_HISTORY = TableSchema(
    "identity_history",
    "How persons changed from version to version; a name that is not listed stands for the same person in both.",
    ("clusters_version", "kind", "earlier_id", "identity_id"),
    (
        Column("clusters_version", I32, "the version in which it happened", minimum=1),
        Column("kind", STR, "what happened", one_of=("new", "merged", "split", "renamed", "gone")),
        Column("earlier_id", STR, "name in the version before; of new persons their own"),
        Column("identity_id", STR, "name from this version on; of persons all of whose clips are gone the last one"),
        Column("clips", I32, "clips that went this way", minimum=0),
    ),
    partitioned=False,
)

DUPLICATE_CLIPS = TableSchema(
    "duplicate_clips",
    "Which clips show a shot that a better clip shows, too: a row for every clip that all steps before have passed.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        POLICY_SHA256,
        maybe("shorter_side_px", I32, "of the frames as stored", minimum=1),
        maybe("duration_s", F64, "as in `clips`", minimum=0),
        maybe("duplicate_of", STR, "the clip that stays in its place; NULL of a clip that stays"),
        Column("search_digest", STR, "hash of what the clip was measured from: what the stored pairs are valid for"),
        KEEP,
        *OUTCOME,
    ),
    partitioned=False,
)

DUPLICATE_PAIRS = TableSchema(
    "duplicate_pairs",
    "Pairs of clips whose pictures are alike, and how alike they are where they agree best. Scores only, no decision.",
    ("clip_id_a", "clip_id_b", "mirrored"),
    (
        Column("clip_id_a", STR, "the smaller clip id"),
        Column("clip_id_b", STR, "the larger one"),
        Column("mirrored", BOOL, "whether b is compared as it looks in a mirror"),
        Column("offset_s", F64, "where b begins in a, s since its first frame; negative where it begins before"),
        Column("shared_share", F64, "shared time / length of the shorter one", minimum=0, maximum=1),
        Column("pose_distance_deg", F64, "80th percentile of the angles between the poses of one moment", minimum=0, maximum=180),
        Column("pose_chance_deg", F64, "the same at other offsets, median: what chance gives", minimum=0, maximum=180),
        Column("picture_distance", F64, "median of the bits of 63 by which pictures of one moment differ", minimum=0, maximum=63),
        Column("face_similarity", F64, "median cosine of the faces of one moment", minimum=-1.001, maximum=1.001),
    ),
    partitioned=False,
)

DROPPED_SEGMENT = pl.Struct({"start_s": F64, "end_s": F64, "text": STR, "reason": STR})

SPEECH_TAGGED_CLIPS = TableSchema(
    "speech_tagged_clips",
    "Who speaks in a clip's window, decided from `speech_info` alone, and the caption that says so.",
    ("clip_id",),
    (
        CLIP_ID,
        SHARD,
        Column("policy", STR, "name of the policy that decided"),
        POLICY_SHA256,
        maybe("speaking_status", STR, "who speaks; NULL when the clip did not come so far", one_of=SPEAKING_STATUSES),
        maybe("speaking_reason", STR, "the measure that decided"),
        maybe("transcript", STR, "what is believed to be said; NULL without a transcript"),
        maybe("transcript_language", STR, "code of the language of most of it"),
        maybe("dropped_segments", pl.List(DROPPED_SEGMENT), "what is not believed, and why"),
        maybe("caption_source", STR, "released, frames: <model> or none"),
        maybe("caption_reason", STR, "why the caption is not the released one; NULL when it is"),
        maybe("source_caption", STR, "the caption that was refined, to the letter"),
        maybe("refined_caption", STR, "the caption with the speaking sentence"),
        maybe("speaking_sentence", STR, "that sentence alone"),
        maybe("removed_sentences", pl.List(STR), "what contradicted it and was taken out"),
        maybe("rewriter", STR, "what wrote the refined caption: rules-<n> or llm: <model>"),
        maybe("rewriter_reason", STR, "why it was the rules or the model"),
        *OUTCOME,
    ),
)
