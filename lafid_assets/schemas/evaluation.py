"""What a model draws of persons that it never saw, frame by frame and video by video, and what that says of it."""

import polars as pl

from lafid_assets.schemas.columns import CLIP_ID, F64, I16, I32, I64, OUTCOME, SPEAKING_STATUSES, SPLITS, STR, maybe, share
from lafid_assets.steps.contract import Column, TableSchema
from model.likeness import EXPRESSION_BINS, YAW_BINS

CHECKPOINT = Column("checkpoint_sha256", STR, "hash over the checkpoint's parts")
BENCH_VERSION = Column("bench_version", STR, "the version of the bench; empty where cached clips were measured, not a bench")
CASE = (
    Column("case_id", STR, "the bench's case: one video to draw"),
    Column("seed", I64, "of the noise, as the bench says", minimum=0),
)
ABSENT = pl.Struct({"measure": STR, "reason": STR})
MEASURES = tuple(
    maybe(name, F64, f"{doc}; NULL where it could not be taken, see `absent`")
    for name, doc in (
        ("consisid_facesim_arc", "similarity of 16 frames to the given picture in ArcFace's space, by ConsisID's rule"),
        ("consisid_facesim_cur", "the same in CurricularFace's space"),
        ("consisid_fid", "ConsisID's per-frame distance of aligned faces, which is no distance of distributions"),
        ("consisid_clip_score", "CLIP's agreement of frames and prompt by ConsisID's rule, red and blue exchanged"),
        ("opens2v_facesim_arc", "similarity of 32 frames to the given picture in ArcFace's space, by OpenS2V-Eval's rule"),
        ("opens2v_facesim_cur", "the same in CurricularFace's space"),
        ("clip_score", "CLIP's agreement of frames and prompt"),
        ("motion_amplitude", "how much moves from frame to frame"),
        ("motion_smoothness", "how evenly it moves"),
        ("lip_activity", "range of the mouth's opening, share of the face's height"),
        ("lip_agreement", "1: the lips do what the real clip's speaking status says; 0: they do not"),
        ("temporal_consistency", "likeness of neighbouring frames' faces"),
        ("clip_temporal_consistency", "likeness of neighbouring frames in CLIP's space"),
        ("multi_view_similarity", "Mv2ID's: likeness over the gallery's views"),
        ("pose_range_deg", "the largest rotation between two drawn poses"),
        ("yaw_reached_deg", "how far the drawn face turns to either side"),
    )
)
"""Measures of one video, each as `model.evaluation.measures` takes it."""

EVALUATED_VIDEOS = TableSchema(
    "evaluated_videos",
    "The videos that checkpoints drew of a bench's cases, and what was measured of each.",
    ("checkpoint_sha256", "bench_version", "case_id", "seed"),
    (
        CHECKPOINT,
        BENCH_VERSION,
        *CASE,
        CLIP_ID,
        Column("identity_id", STR, "the person"),
        maybe("frames", I32, "of the video, a first one that was given included; NULL where nothing was drawn"),
        maybe("height", I32, "px", minimum=1),
        maybe("width", I32, "px", minimum=1),
        maybe("fps", F64, "frames a second", minimum=0),
        Column("steps", I32, "of denoising", minimum=1),
        Column("yaw_bin", STR, "how far the real clip's face turns", one_of=YAW_BINS),
        Column("expression_bin", STR, "whether the real clip's face changes its expression", one_of=EXPRESSION_BINS),
        Column("speaking_status", STR, "who speaks in the real clip", one_of=SPEAKING_STATUSES),
        maybe(
            "first_frame_psnr_db",
            F64,
            "of the video's first frame to the given one, 99 where they are equal; NULL where none is given or nothing drawn",
        ),
        maybe(
            "pose_binned_similarity",
            F64,
            "mean over the yaw bins that the case demands of where the similarity lies between stranger (0) and person (1)",
            maximum=1,
        ),
        maybe(
            "likeness",
            F64,
            "mean cosine of the drawn faces to the gallery at their pose, a frame without a face counting 0; NULL where none "
            "shows a face",
            minimum=-1,
            maximum=1,
        ),
        share("faces_found_share", "share of the drawn frames that show a face"),
        *MEASURES,
        Column("absent", pl.List(ABSENT), "measures that could not be taken, and why"),
        maybe("video_path", STR, "the mp4, below the store or the command's folder; NULL where nothing was drawn"),
        *OUTCOME,
    ),
    partitioned=False,
)

EVALUATED_FRAMES = TableSchema(
    "evaluated_frames",
    "The frames of these videos, without a first one that was given. All measures are NULL where a frame shows no face.",
    ("checkpoint_sha256", "bench_version", "case_id", "seed", "frame_index"),
    (
        CHECKPOINT,
        BENCH_VERSION,
        *CASE,
        Column("frame_index", I32, "in the video, from 0", minimum=0),
        maybe("yaw_deg", F64, "> 0: turned to the image's left; NULL where the engine tells no pose"),
        maybe("pitch_deg", F64, "> 0: up"),
        maybe("yaw_bin", STR, "of that yaw", one_of=YAW_BINS),
        maybe("expression_bin", STR, "against the given picture", one_of=EXPRESSION_BINS),
        maybe("similarity", F64, "cosine to the gallery's picture nearest in pose", minimum=-1, maximum=1),
        maybe(
            "score",
            F64,
            "where it lies between stranger (0) and person (1) in its yaw bin; NULL where the bench has no bounds there",
        ),
        maybe("gallery_index", I16, "which picture that is", minimum=0),
        maybe("pose_gap_deg", F64, "angle to that picture's pose", minimum=0, maximum=180),
    ),
    partitioned=False,
)

MODEL_EVALUATION = TableSchema(
    "model_evaluation",
    "Measures of the checkpoint, and of the model that it must not be worse than, on identities that they never saw.",
    ("checkpoint_sha256", "bench_version", "split", "metric"),
    (
        CHECKPOINT,
        BENCH_VERSION,
        Column("split", STR, "which clips", one_of=SPLITS),
        Column("metric", STR, "name of the measure, with its unit"),
        maybe("value", F64, "mean over the videos that allowed it; NULL where none did"),
        maybe("low", F64, "lower end of the 95 % interval by bootstrap over persons; NULL with too few persons"),
        maybe("high", F64, "its upper end"),
        Column("videos", I32, "videos that it was measured on; of the flow loss cached clips", minimum=0),
        maybe("persons", I32, "persons in them; NULL for the flow loss", minimum=0),
        maybe("frames", I32, "drawn frames that it was measured on; NULL where frames are not counted", minimum=0),
        maybe("absent", STR, "why there is no value: the first case and its cause; NULL where there is one"),
    ),
    partitioned=False,
)
