"""The bench: what every model is asked to draw of persons that none was trained on."""

from lafid_assets.schemas.columns import CLIP_ID, F64, I32, I64, OUTCOME, SPEAKING_STATUSES, STR, TERMS, maybe
from lafid_assets.steps.contract import Column, TableSchema
from model.likeness import EXPRESSION_BINS, YAW_BINS

LAFID_BENCH = TableSchema(
    "lafid_bench",
    "LaFID-Bench: a row a clip that it asks for, also where nothing can be drawn of it. Its folder lies in the store.",
    ("clip_id",),
    (
        CLIP_ID,
        maybe("bench_version", STR, "hash over what is drawn and measured; NULL where no clip gave a case"),
        maybe("bench_path", STR, "its folder in the store; NULL where there is none"),
        Column("bench_name", STR, "as it was asked for"),
        Column("identity_id", STR, "the person"),
        Column("why", STR, "what gave the clip its place in the choice"),
        Column("seed", I64, "of the noise that every model draws from", minimum=0),
        maybe(
            "begins",
            STR,
            "with a frame of the clip (window), or, where none can condition a model, with one that a picture of the person was "
            "cut from (gallery); NULL where nothing can be drawn",
            one_of=("window", "gallery"),
        ),
        maybe("start_s", F64, "where its part begins that counts, s since the clip's first frame", minimum=0),
        maybe("duration_s", F64, "of the clip from there on", minimum=0),
        maybe(
            "reached_yaw_deg",
            F64,
            "how far the face turns to either side from there on; NULL where no pose was measured",
            minimum=0,
            maximum=180,
        ),
        Column("yaw_bin", STR, "what this falls into", one_of=YAW_BINS),
        Column("expression_bin", STR, "whether the face's expression changes", one_of=EXPRESSION_BINS),
        Column("speaking_status", STR, "who speaks", one_of=SPEAKING_STATUSES),
        Column("gallery_pictures", I32, "of the person", minimum=0),
        Column("photos", I32, "further pictures that a model may be given", minimum=0),
        *TERMS[:2],
        Column("dataset_version", STR, "the version that was read"),
        *OUTCOME,
    ),
    partitioned=False,
)
