"""What persons said of decisions."""

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas.columns import CLIP_ID, STR, maybe
from lafid_assets.steps.contract import Column, TableSchema

DECIDED = ("kept", str(Status.REJECTED))
RIGHT, WRONG = "right", "wrong"

MARKS = TableSchema(
    "marks",
    "A row a mark: a person looked at a clip and said whether it was decided rightly. All marks stay; the latest of a clip and "
    "marker counts.",
    ("mark_id",),
    (
        Column("mark_id", STR, "32 hex digits"),
        CLIP_ID,
        Column("step", STR, "the step that had decided: the first one that the clip did not pass, the last one of a kept clip"),
        Column("status", STR, "what had been decided", one_of=DECIDED),
        maybe("reason", STR, "of the decision; NULL of a kept clip", one_of=tuple(Reason)),
        maybe("policy_sha256", STR, "the policy that had decided, as in `policy_settings`; NULL where none did"),
        maybe("content_sha256", STR, "hash of the file that was looked at"),
        Column("verdict", STR, "whether that decision was right", one_of=(RIGHT, WRONG)),
        maybe(
            "fault",
            STR,
            "of a clip that should not be kept: the reason that the marker sees; NULL where none was named",
            one_of=tuple(Reason),
        ),
        maybe("note", STR, "what the marker added"),
        Column("marker", STR, "who marked"),
        Column("marked_at", STR, "ISO 8601, UTC"),
    ),
    partitioned=False,
    appended=True,
)
