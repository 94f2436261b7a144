"""The funnel: every clip counted once, by the first step that it did not pass.

Belongs here: outcomes of all steps -> one outcome a clip -> counts. Not here: drawing (`figures`, `cli`).

Every step writes `skipped`, `upstream` for the clips that did not come to it. Where all steps of a shard agree on who came, a
clip's outcome is therefore its one row that says neither that nor ok, and nothing need be joined. A shard whose steps do not
agree is at work, or not processed to the end; its clips are looked at one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from lafid_assets.outcomes import KEPT, Reason, Status
from lafid_assets.schemas import BY_NAME, FOOTAGE, OUTCOME_TABLES
from resources.lake.duckdb_extensions import quoted
from resources.lake.reader import Reader

RULES = ("policy", "policy_sha256", "fingerprint", "transcriber")
"""Columns of the outcome tables that name a policy, or a model with its settings."""
STEPS = tuple(OUTCOME_TABLES)
_LAST = len(STEPS) - 1
_UPSTREAM = f"(status = '{Status.SKIPPED}' AND reason = '{Reason.UPSTREAM}')"

_TORN_SHARDS = f"""
    SELECT DISTINCT shard FROM (
        SELECT shard, step AS gate, -count(*) AS clips, bit_xor(hash(clip_id)) AS who FROM {{came}} WHERE step > 0 GROUP BY ALL
        UNION ALL
        SELECT shard, step + 1, count(*), bit_xor(hash(clip_id)) FROM {{came}}
        WHERE status = '{Status.OK}' AND step < {_LAST} GROUP BY ALL
    ) GROUP BY shard, gate HAVING sum(clips) <> 0 OR bit_xor(who) <> 0
"""
"""Shards in which those who passed one step are not those who came to the next."""

_OUTCOMES = f"""
    WITH torn AS MATERIALIZED ({_TORN_SHARDS}),
    ended AS (
        SELECT clip_id, step, status, reason FROM {{came}} ANTI JOIN torn USING (shard)
        WHERE status <> '{Status.OK}' OR step = {_LAST}
        UNION ALL
        SELECT clip_id, least(place, gap), CASE WHEN gap < place THEN '{Status.SKIPPED}' ELSE status END,
            CASE WHEN gap < place THEN '{Reason.NOT_PROCESSED}' ELSE reason END
        FROM (
            SELECT clip_id, list_position([bit_or(1 << step) >> place & 1 FOR place IN range({_LAST + 2})], 0) - 1 AS gap,
                coalesce(min(step) FILTER (status <> '{Status.OK}'), {_LAST}) AS place,
                coalesce(arg_min(status, step) FILTER (status <> '{Status.OK}'), '{Status.OK}') AS status,
                arg_min(reason, step) FILTER (status <> '{Status.OK}') AS reason
            FROM {{came}} SEMI JOIN torn USING (shard) GROUP BY shard, clip_id HAVING min(step) = 0
        )
    )
    SELECT clip_id,
        CASE WHEN status <> '{Status.OK}' THEN status WHEN lacks <> '' THEN '{Status.SKIPPED}' ELSE '{KEPT}' END AS status,
        CASE WHEN status = '{Status.OK}' THEN lacks ELSE [{", ".join(map(quoted, STEPS))}][step + 1] END AS step,
        CASE WHEN lacks <> '' THEN '{Reason.NOT_PROCESSED}' ELSE coalesce(reason, '') END AS reason
    FROM (SELECT *, CASE WHEN status <> '{Status.OK}' THEN '' {{lacks}} ELSE '' END AS lacks FROM ended)
"""


@dataclass(frozen=True)
class Outcomes:
    """How every clip ended at one moment, in files beside the lake: there may be more clips than memory holds.

    Attributes:
        rows: what to select from in SQL: `clip_id`, `status` (`kept` or how it ended), `step`, `reason`.
        came: the same for the steps: `shard`, `clip_id`, `step` (its place), `status`, `reason` and `RULES`, a row a clip and
            step that it came to.
        counts: how many ended how.
        digest: of all rows, whatever their order.
    """

    rows: str
    came: str
    counts: pl.DataFrame
    digest: str

    @property
    def clips_in(self) -> int:
        """Every clip of the first outcome table."""
        return int(self.counts["clips"].sum())


def read_outcomes(reader: Reader, folder: Path, needed: Sequence[str] = ()) -> Outcomes:
    """How every clip of the first outcome table ended; each table is read once, row by row.

    Args:
        folder: takes the files.
        needed: tables in which a clip that all steps passed must be to be kept; until then it is not processed to the end.
    """
    lacks = " ".join(f"WHEN clip_id NOT IN (SELECT clip_id FROM {table}) THEN {quoted(table)}" for table in needed)
    came = f"read_parquet({quoted(str(folder / 'came-*.parquet'))}, union_by_name = true)"
    rows = f"read_parquet({quoted(str(folder / 'outcomes.parquet'))})"
    for step in range(_LAST + 1):  # one table at a time: together they would wait for each other in memory
        _copy(reader, _came_to(step), folder / f"came-{step}.parquet")
    _copy(reader, _OUTCOMES.format(came=came, lacks=lacks), folder / "outcomes.parquet")
    counted = reader.sql(
        f"""SELECT status, step, reason, count(*) AS clips, sum(md5_number_lower(said))::VARCHAR AS lower,
            sum(md5_number_upper(said))::VARCHAR AS upper
        FROM (SELECT *, concat_ws(' ', status, step, reason, clip_id) AS said FROM {rows}) GROUP BY ALL ORDER BY ALL"""
    )
    digest = ";".join(" ".join(map(str, row)) for row in counted.rows())
    return Outcomes(rows, came, counted.select("status", "step", "reason", "clips"), digest)


def count_outcomes(reader: Reader) -> pl.DataFrame:
    """How many clips ended how at this moment: `status`, `step`, `reason`, `clips`."""
    with TemporaryDirectory(prefix="lafid-") as folder:
        return read_outcomes(reader, Path(folder)).counts


def as_object(counts: pl.DataFrame, dataset_version: str | None) -> dict[str, Any]:
    """The funnel as one object: `in`, `kept`, `rejected`, `error`, `timeout`, `skipped`, `dataset_version`.

    Args:
        counts: `status`, `step`, `reason`, `clips`.
    """

    def by_reason(status: Status) -> dict[str, int]:
        rows = counts.filter(pl.col("status") == status).group_by("reason").agg(pl.col("clips").sum()).sort("reason")
        return dict(rows.iter_rows())

    def total(status: str) -> int:
        return int(counts.filter(pl.col("status") == status)["clips"].sum())

    return {
        "in": int(counts["clips"].sum()),
        "kept": total(KEPT),
        "rejected": by_reason(Status.REJECTED),
        "error": by_reason(Status.ERROR),
        "timeout": total(Status.TIMEOUT),
        "skipped": by_reason(Status.SKIPPED),
        "dataset_version": dataset_version,
    }


def _came_to(step: int) -> str:
    """The clips that came to a step; of the first step all, pieces of recordings included."""
    table = OUTCOME_TABLES[STEPS[step]] if step else FOOTAGE.name
    rules = [name for name in RULES if name in BY_NAME[table].dtypes]
    came = f" WHERE NOT coalesce({_UPSTREAM}, false)" if step else ""
    return f"SELECT {', '.join(['shard', 'clip_id', f'{step} AS step', 'status', 'reason', *rules])} FROM {table}{came}"


def _copy(reader: Reader, query: str, path: Path) -> None:
    reader.cursor.execute(f"COPY ({query}) TO {quoted(str(path))} (FORMAT parquet)")
