"""The funnel: every clip counted once, by the first step that it did not pass.

Belongs here: outcomes of all steps -> one outcome a clip -> counts. Not here: drawing (`figures`, `cli`).
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from lafid_assets.outcomes import Reason, Status
from lafid_assets.schemas import OUTCOME_TABLES

KEPT = "kept"


def clip_outcomes(tables: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """One row a clip of the first outcome table: `clip_id`, `status` (`kept` or how it ended), `step`, `reason`.

    Args:
        tables: the tables of `schemas.OUTCOME_TABLES` that exist; a clip missing from a later one is `not_processed`.
    """
    first = OUTCOME_TABLES[0]
    clips = tables[first].select("clip_id", status=pl.lit(KEPT), step=pl.lit(""), reason=pl.lit(""))
    for name in OUTCOME_TABLES:
        table = tables.get(name)
        here = (
            table.select("clip_id", here_status="status", here_reason="reason")
            if table is not None
            else pl.DataFrame(schema={"clip_id": pl.String, "here_status": pl.String, "here_reason": pl.String})
        )
        joined = clips.join(here, on="clip_id", how="left").with_columns(
            pl.col("here_reason").fill_null(
                pl.when(pl.col("here_status").is_null()).then(pl.lit(str(Reason.NOT_PROCESSED))).otherwise(pl.lit(""))
            ),
            pl.col("here_status").fill_null(str(Status.SKIPPED)),
        )
        ends_here = (pl.col("status") == KEPT) & (pl.col("here_status") != Status.OK)
        clips = joined.select(
            "clip_id",
            status=pl.when(ends_here).then("here_status").otherwise("status"),
            step=pl.when(ends_here).then(pl.lit(name)).otherwise("step"),
            reason=pl.when(ends_here).then("here_reason").otherwise("reason"),
        )
    return clips.sort("clip_id")


def count_outcomes(outcomes: pl.DataFrame, dataset_version: str) -> pl.DataFrame:
    """Rows of `dataset_report`: how many clips ended how."""
    counted = outcomes.group_by("status", "step", "reason").agg(clips=pl.len().cast(pl.Int64))
    return counted.with_columns(dataset_version=pl.lit(dataset_version))


def as_object(counts: pl.DataFrame) -> dict[str, Any]:
    """The funnel as one object: `in`, `kept`, `rejected`, `error`, `timeout`, `skipped`, `dataset_version`."""

    def by_reason(status: Status) -> dict[str, int]:
        rows = counts.filter(pl.col("status") == status).group_by("reason").agg(pl.col("clips").sum()).sort("reason")
        return dict(rows.iter_rows())

    def total(status: str) -> int:
        return int(counts.filter(pl.col("status") == status)["clips"].sum())

    versions = counts["dataset_version"].unique().to_list()
    return {
        "in": int(counts["clips"].sum()),
        "kept": total(KEPT),
        "rejected": by_reason(Status.REJECTED),
        "error": by_reason(Status.ERROR),
        "timeout": total(Status.TIMEOUT),
        "skipped": by_reason(Status.SKIPPED),
        "dataset_version": versions[0] if len(versions) == 1 else None,
    }
