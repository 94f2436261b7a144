"""What becomes of a checkpoint in the registry: its version, every judgement of one, every alias that moved."""

import polars as pl

from lafid_assets.schemas.columns import F64, STR, maybe
from lafid_assets.steps.contract import Column, TableSchema

PASSED, REFUSED, UNDECIDED, NOT_JUDGED = "passed", "refused", "undecided", "not judged"
VERDICTS = (PASSED, REFUSED, UNDECIDED)
"""Verdicts of a judgement. A finding may also be `not judged`, and then counts for nothing."""
PRETRAINED, TINY = "pretrained", "tiny"
GATES_OF_BASES = (PRETRAINED, TINY)
BY_GATE, BY_COMMAND, BY_ROLLBACK, BY_HAND, BY_REGISTRATION = "gate", "promote", "rollback", "by_hand", "registered"
WAYS = (BY_GATE, BY_COMMAND, BY_ROLLBACK, BY_HAND, BY_REGISTRATION)
FINDING = pl.Struct({"rule": STR, "verdict": STR, "figure": F64, "bound": F64, "sentence": STR})

REGISTERED_MODEL = TableSchema(
    "registered_model",
    "The MLflow version.",
    ("model_name", "model_version"),
    (
        Column("model_name", STR, "name in the registry"),
        Column("model_version", STR, "version in the registry"),
        maybe("alias", STR, "what the run made of it: champion, or candidate; NULL: neither"),
        Column("model_uri", STR, "what to pull"),
        Column("gate", STR, "`passed`, or the sentences of what kept it from that"),
        Column("checkpoint_sha256", STR, "hash over the checkpoint's parts"),
        Column("dataset_version", STR, "the version that it was trained on"),
        maybe("verdict", STR, "of its last judgement", one_of=VERDICTS),
        maybe("judgement_id", STR, "of `judgements`: the last of this version"),
    ),
    partitioned=False,
)

JUDGEMENTS = TableSchema(
    "judgements",
    "Every judgement of a registered version, whole. Rows are only added.",
    ("judgement_id",),
    (
        Column("judgement_id", STR, "32 hex digits"),
        Column("model_name", STR, "name in the registry"),
        Column("model_version", STR, "the version that was judged"),
        Column("checkpoint_sha256", STR, "hash over its checkpoint's parts"),
        maybe("bench_name", STR, "the bench that it was evaluated on; NULL: none"),
        maybe("bench_version", STR, "hash over that bench; NULL: none"),
        Column("gate", STR, "which rules: of a pretrained base, or of the tiny random one", one_of=GATES_OF_BASES),
        Column("verdict", STR, "undecided: nothing speaks against it, and not enough for it", one_of=VERDICTS),
        Column("findings", pl.List(FINDING), "rule by rule: verdict, figure, bound, and both in words"),
        maybe("against_version", STR, "the champion at that time; NULL: there was none"),
        maybe("against_checkpoint_sha256", STR, "hash over the champion's checkpoint; NULL: none is known"),
        Column("judged_at", STR, "ISO 8601, UTC"),
        Column("dagster_run_id", STR, "the run that judged"),
    ),
    partitioned=False,
    appended=True,
)

PROMOTIONS = TableSchema(
    "promotions",
    "Every alias that moved in the registry: when, from where to where, by whom, why. Rows are only added.",
    ("promotion_id",),
    (
        Column("promotion_id", STR, "32 hex digits"),
        Column("model_name", STR, "name in the registry"),
        Column("alias", STR, "champion, previous, candidate, or one of a person's own"),
        maybe("from_version", STR, "where it pointed; NULL: nowhere"),
        maybe("to_version", STR, "where it points since; NULL: it was deleted"),
        Column("moved_at", STR, "when, ISO 8601, UTC; of a change by hand, when it was seen. Later rows of a model are later"),
        Column("moved_by", STR, "user@machine; of a change by hand nobody knows who"),
        Column("why", STR, "in words"),
        maybe("judgement_id", STR, "of `judgements`: what it stands on; NULL: on a person's word"),
        Column("how", STR, "registered, gate: by a run; promote, rollback: by command; by_hand: outside LaFID", one_of=WAYS),
    ),
    partitioned=False,
    appended=True,
)
