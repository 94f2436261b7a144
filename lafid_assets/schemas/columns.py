"""Columns that several tables share, and short names for types. Not here: any table."""

from typing import Any

import polars as pl

from lafid_assets.outcomes import Reason, Status
from lafid_assets.steps.contract import Column

DataType = pl.DataType | type[pl.DataType]
I16, I32, I64, F32, F64, STR, BOOL = pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Boolean
STATUSES = tuple(Status)
SPEAKING_STATUSES = ("on_screen", "off_screen", "silent", "no_audio", "undecidable")
BOUNDARY_KINDS = ("hard", "gradual")
TIERS = ("scan", "survey")
SPLITS = ("train", "validation", "test")


def maybe(name: str, dtype: DataType, doc: str, **bounds: Any) -> Column:
    """A column that may be NULL."""
    return Column(name, dtype, doc, nullable=True, **bounds)


def share(name: str, doc: str) -> Column:
    """A number from 0 to 1, or NULL."""
    return maybe(name, F64, doc, minimum=0, maximum=1)


CLIP_ID = Column("clip_id", STR, "32 hex digits: OpenHumanVid's id, or the head of the content hash for a plain folder")
SHARD = Column("shard", STR, "the clip shard (Dagster partition) that the clip belongs to, for ever")
OUTCOME = (
    Column("status", STR, "how the clip ended this step", one_of=STATUSES),
    maybe("reason", STR, "why, from the closed list; NULL when ok", one_of=tuple(Reason)),
    maybe("detail", STR, "one sentence for a person; NULL when there is nothing to add"),
)
GATES = ("open", "gated", "unstated")
GATE = Column("gate", STR, "whether access to that dataset is open, gated (only for those who asked), or unstated", one_of=GATES)
TERMS = (
    Column("source", STR, "the dataset that the clip comes from"),
    Column("licence", STR, "the licence of that dataset"),
    GATE,
)
BOX = (
    Column("box_x1", F32, "left edge of the face box, px of the full-size frame"),
    Column("box_y1", F32, "top edge, px"),
    Column("box_x2", F32, "right edge, px"),
    Column("box_y2", F32, "bottom edge, px"),
)
KEEP = Column("keep", BOOL, "whether the clip goes on; the same as status = ok")
ENGINE = (
    Column("engine", STR, "name of the face engine"),
    Column("engine_version", STR, "its version"),
    Column("engine_licence", STR, "the strictest licence of its weights"),
    Column("engine_reason", STR, "why this engine: it was asked for, or what the model store held when `auto` chose"),
)
WINDOW = (
    maybe(
        "window_start_s",
        F64,
        "from here on, s since the first frame, the clip is used: latents, captions, references, who speaks; NULL: all of it",
        minimum=0,
    ),
    maybe("window_end_s", F64, "up to here", minimum=0),
)
TIER = Column("tier", STR, "scan: few frames, boxes and five points only; survey: everything", one_of=TIERS)
RELEASED = tuple(
    maybe(name, F64, doc)
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
