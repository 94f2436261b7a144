"""One step, always the same shape: compute (pure) -> contract -> store (whole or not at all) -> warehouse -> metadata and checks.

Belongs here: that shape, the fingerprint that says whether a partition is current, and the blocking checks.
Not here: what any one step computes.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl
from pydantic import BaseModel

from lafid_assets.contract import TableSchema
from lafid_assets.partitions import CLIP_SHARDS
from lafid_assets.schemas import BY_NAME
from resources.shard_store import UNPARTITIONED, ShardStore
from resources.warehouse import Warehouse

LOGGER = logging.getLogger("lafid.step")

Frames = Mapping[str, pl.DataFrame]
Check = Callable[[Frames], list[str]]

KIND_ICONS = {"python", "duckdb", "parquet"}


@dataclass(frozen=True)
class Step:
    """An asset: the tables that it writes (its own first), the tables that it reads, and its version.

    Attributes:
        checks: further blocking checks, name to a function that lists what is wrong with the written frames.
    """

    writes: tuple[TableSchema, ...]
    reads: tuple[str, ...]
    group: str
    code_version: str
    kinds: frozenset[str] = frozenset()
    checks: Mapping[str, Check] = field(default_factory=dict)

    @property
    def table(self) -> TableSchema:
        """The table that bears the asset's name."""
        return self.writes[0]

    def arguments(self, *, deps: Sequence[str], pool: str | None = None) -> dict[str, Any]:
        """Everything that `@dg.asset` wants to know about this step."""
        rows = [dg.TableColumn(column.name, str(column.dtype), description=column.doc) for column in self.table.columns]
        return {
            "name": self.table.name,
            "deps": list(deps),
            "group_name": self.group,
            "kinds": KIND_ICONS | self.kinds,
            "owners": ["team:ml" if self.group in ("training", "release") else "team:data"],
            "code_version": self.code_version,
            "partitions_def": CLIP_SHARDS if self.table.partitioned else None,
            "pool": pool,
            "metadata": {
                "dagster/table_name": self.table.name,
                "dagster/column_schema": dg.TableSchema(columns=rows),
                "key": ", ".join(self.table.key),
            },
            "check_specs": [
                dg.AssetCheckSpec(name, asset=self.table.name, blocking=True, description=description)
                for name, description in self._check_docs().items()
            ],
        }

    def fingerprint(self, store: ShardStore, partition: str, config: BaseModel, outside: Any = None) -> str:
        """Hash of code version, config, the content of every table read, and whatever lies `outside` the store."""
        inputs = {table: list(store.digests(table, partition if self._same_partition(table) else None)) for table in self.reads}
        facts = [self.table.name, self.code_version, config.model_dump(mode="json"), inputs, outside]
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def materialize(
        self,
        context: dg.AssetExecutionContext,
        config: BaseModel,
        store: ShardStore,
        warehouse: Warehouse,
        compute: Callable[[], Frames],
        *,
        clips_in: Iterable[str] = (),
        outside: Any = None,
        intact: Callable[[Frames], bool] | None = None,
        metadata: Callable[[Frames], Mapping[str, Any]] | None = None,
    ) -> dg.MaterializeResult:
        """Bring one partition up to date: compute it unless a current one lies in the store, mirror it, report it.

        Args:
            clips_in: ids of the clips that came in; the per-clip table must have a row for each of them.
            outside: facts beyond the store that the result depends on (files on disk, engines, weights).
            intact: whether the files that the rows point to still exist; a current partition that lost them is computed again.
            metadata: what else to show in the UI, from the written frames.
        """
        partition = context.partition_key if context.has_partition_key else UNPARTITIONED
        fingerprint = self.fingerprint(store, partition, config, outside)
        names = tuple(table.name for table in self.writes)
        frames: Frames = {}
        current = store.is_current(names, partition, fingerprint)
        if current:
            frames = {name: store.read_table(name, partition) for name in names}
            current = intact is None or intact(frames)
        if not current:
            computed = compute()
            frames = {table.name: table.frame(computed[table.name]) for table in self.writes}
        results = self._check(frames, set(clips_in))
        if not current and all(result.passed for result in results):
            store.write_group(frames, partition, fingerprint)
        if all(result.passed for result in results):
            warehouse.replace_partition(frames, partition)
        own = frames[self.table.name]
        LOGGER.info("%s %s: %s, %d rows", self.table.name, partition, "up to date" if current else "computed", own.height)
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": own.height,
                "computed": not current,
                "fingerprint": fingerprint[:16],
                **_outcomes(own),
                **(metadata(frames) if metadata else {}),
            },
            check_results=results,
        )

    def _same_partition(self, table: str) -> bool:
        schema = BY_NAME.get(table)
        return self.table.partitioned and (schema is None or schema.partitioned)

    def _check_docs(self) -> dict[str, str | None]:
        docs: dict[str, str | None] = {
            "schema": "Columns and types are those of the contract.",
            "unique_key": "No key occurs twice.",
            "values": "No NULL where none may be, values within bounds and closed lists, reasons fit their status.",
        }
        if self._per_clip_table is not None:
            docs["counts_add_up"] = "Every clip that came in has exactly one row: none lost, none invented."
        return docs | {name: check.__doc__ for name, check in self.checks.items()}

    @property
    def _per_clip_table(self) -> str | None:
        return next((table.name for table in self.writes if table.partitioned and table.key == ("clip_id",)), None)

    def _check(self, frames: Frames, clips_in: set[str]) -> list[dg.AssetCheckResult]:
        found: dict[str, list[str]] = {name: [] for name in self._check_docs()}
        for table in self.writes:
            for rule, messages in table.violations(frames[table.name]).items():
                found[rule] += [f"{table.name}: {message}" for message in messages]
        if self._per_clip_table is not None:
            found["counts_add_up"] += _lost_or_invented(frames[self._per_clip_table], clips_in)
        for name, check in self.checks.items():
            found[name] += check(frames)
        return [
            dg.AssetCheckResult(
                check_name=name,
                passed=not messages,
                metadata={"violations": len(messages), "first": "; ".join(messages[:5]) or "none"},
            )
            for name, messages in found.items()
        ]


def _lost_or_invented(frame: pl.DataFrame, clips_in: set[str]) -> list[str]:
    out = set(frame["clip_id"].to_list())
    return [
        f"{len(clips)} clips {what}, the first {min(clips)}"
        for what, clips in (("lost", clips_in - out), ("invented", out - clips_in))
        if clips
    ]


def _outcomes(frame: pl.DataFrame) -> dict[str, Any]:
    if "status" not in frame.columns or "reason" not in frame.columns or "clip_id" not in frame.columns:
        return {}
    counted = frame.group_by("status", "reason").len().sort("status", "reason")
    return {
        "outcomes": dg.MetadataValue.table(
            [dg.TableRecord({"status": s, "reason": r or "", "clips": n}) for s, r, n in counted.rows()]
        )
        if counted.height
        else "no clips",
        **{f"clips_{status}": sum(n for s, _, n in counted.rows() if s == status) for status in counted["status"].unique()},
    }
