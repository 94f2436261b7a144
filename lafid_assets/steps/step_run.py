"""One asset at work in one Dagster run: its partitions brought up to date one by one, and what the run is told of them.

Belongs here: leases, checks, metadata, and what a failing shard costs. Not here: what a step is (`step`).
"""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import polars as pl
from pydantic import BaseModel

from lafid_assets.checks.shard_rates import shard_rates
from lafid_assets.policy_settings import settings_row
from lafid_assets.runs.failure_line import CheckFailed, ShardsFailed, in_one_line
from lafid_assets.runs.run_failure import can_be_tried_again, hide_secrets, raise_interrupt, record_shard_failure
from lafid_assets.schemas import POLICY_SETTINGS
from lafid_assets.workers.pool import kept_children
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import UNPARTITIONED, Lake
from resources.lake.reader import Reader
from resources.lake.writer import Writer
from resources.leases.leases import Lease
from resources.store.ledger import Ledger

if TYPE_CHECKING:
    from lafid_assets.steps.step import Step

LOGGER = logging.getLogger("lafid.step")

Frames = Mapping[str, pl.DataFrame]

ROW_COUNT = "dagster/row_count"
"""Dagster's own name for the rows of a whole table: its page shows the last figure on a card, and plots all of them."""
CONTRACT, COUNTS_ADD_UP = "contract", "counts_add_up"
"""Checks of every step. A check is two events in Dagster's records, and a run with many of them is slow there."""


@dataclass
class _Memory:
    """What the steps of one run know of each other. A run is one process.

    Attributes:
        failed: shards that failed, each with its line: assets further down leave them alone.
        brought: asset to the shards that had their turn: a further try leaves them alone.
    """

    failed: dict[str, str] = field(default_factory=dict)
    brought: "dict[str, dict[str, Brought]]" = field(default_factory=lambda: defaultdict(dict))


_MEMORIES: dict[str, _Memory] = {}
_MOST_MEMORIES = 8
"""A command line runs one run after the other in its process."""


def _memory(run_id: str) -> _Memory:
    while run_id not in _MEMORIES and len(_MEMORIES) >= _MOST_MEMORIES:
        del _MEMORIES[next(iter(_MEMORIES))]
    return _MEMORIES.setdefault(run_id, _Memory())


class Finding(NamedTuple):
    """What a check found in one partition."""

    violations: int = 0
    first: str = "none"


class Brought(NamedTuple):
    """One partition after its turn. `found`: check to what it found."""

    partition: str
    metadata: Mapping[str, Any]
    found: Mapping[str, Finding]


@dataclass(frozen=True)
class Work:
    """What an asset gives its step to work with.

    Attributes:
        compute: partition to its frames; not called where the stored ones are current.
        clips_in: partition to the ids of the clips that came in; the per-clip table must have a row for each of them.
        revise: changes the frames in the transaction that writes them.
        findings: partition and written frames to what the `later_checks` found.
        metadata: partition and written frames to what else the UI shows.
        settled: whether files that the rows point to are still there; asked of partitions that are otherwise current.
        ledger: partition and its lease to where `compute` keeps what is finished; asked before, cleared when all is written.
    """

    compute: Callable[[str], Frames]
    clips_in: Callable[[str], Iterable[str]] | None = None
    revise: Callable[[Writer, Frames], Frames] | None = None
    findings: Callable[[str, Frames], Mapping[str, Finding]] | None = None
    metadata: Callable[[str, Frames], Mapping[str, Any]] | None = None
    settled: Callable[[str, Frames], bool] | None = None
    ledger: Callable[[str, Lease], Ledger] | None = None


class _Stored(Mapping[str, pl.DataFrame]):
    """A step's tables of a current partition; what nobody asks for is not read."""

    def __init__(self, lake: Lake, tables: Iterable[str], partition: str) -> None:
        self._lake, self._tables, self._partition = lake, tuple(tables), partition
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, table: str) -> pl.DataFrame:
        if table not in self._tables:
            raise KeyError(table)
        if table not in self._read:
            self._read[table] = self._lake.read(table, self._partition)
        return self._read[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)


class StepRun:
    """A step in one run.

    Args:
        config: of the step, as the run is told it.
        unsettled: SQL as `Step.unsettled` gives it for the run's config.
    """

    def __init__(
        self, step: "Step", context: dg.AssetExecutionContext, lake: Lake, work: Work, config: BaseModel, unsettled: str | None
    ) -> None:
        self.step, self.context, self.lake, self.work = step, context, lake, work
        self.facts, self.unsettled = step.facts(config), unsettled
        self._settings_sha256, self._settings = settings_row(json.dumps(step.deciding(config), sort_keys=True))
        self._asked_of: Collection[str] | None = None

    def bring_up_to_date(self, partitions: Sequence[str]) -> dg.MaterializeResult:
        """Bring every partition up to date that has not failed in this run, and report.

        Raises:
            CheckFailed: the one partition broke a blocking check.
            ShardsFailed: a shard of several failed, here or further up, and no asset of the run comes after this one.
        """
        with kept_children() if self.step.opens_videos else nullcontext():
            return self._bring_up_to_date(partitions)

    def _bring_up_to_date(self, partitions: Sequence[str]) -> dg.MaterializeResult:
        memory = _memory(self.context.run_id)
        if len(partitions) == 1:
            result = self._one(partitions[0])
            self._require_whole(result)
            return self._result(result)
        brought = memory.brought[self.step.asset]
        self._asked_of = self._unsettled_now()
        passing = None
        for partition in partitions:
            if partition in memory.failed or partition in brought:
                continue
            try:
                brought[partition] = self._one(partition)
                self._require_whole(brought[partition])
            except Exception as error:  # whatever it is, it costs this shard alone
                raise_interrupt(error)
                hide_secrets(error)
                if can_be_tried_again(self.context, error):
                    passing = error
                    continue
                memory.failed[partition] = in_one_line(error, self.step.asset, partition)
                LOGGER.exception("%s", memory.failed[partition])
                record_shard_failure(self.context, memory.failed[partition])
        if passing is not None:
            raise passing
        return self._report([*brought.values()], {name: memory.failed[name] for name in partitions if name in memory.failed})

    def _require_whole(self, result: Brought) -> None:
        """See that no blocking check of a partition is broken.

        Raises:
            CheckFailed: one is; with it what Dagster is told of a run's only partition.
        """
        if broken := [name for name in self._blocking if result.found[name].violations]:
            unwritten = any(result.found[name].violations for name in self.step.check_docs)
            first = f"check {broken[0]}: {result.found[broken[0]].first}{'; nothing of it is written' if unwritten else ''}"
            raise CheckFailed(first, self._check_results([result], fatal=True) if unwritten else [self._result(result)])

    def _one(self, partition: str) -> Brought:
        """Bring one partition up to date. What is stored has kept its contract when it was written; it is not checked again."""
        step, work = self.step, self.work
        with self.lake.leases.held(f"{step.asset}/{partition}") as lease:
            with self.lake.snapshot() as reader:
                shards = [partition, UNPARTITIONED] if step.table.partitioned else []
                stamps = reader.stamps({*step.reads, *(table.name for table in step.writes)}, shards)
                fingerprint = step.fingerprint(stamps, partition, self.facts)
                current = step.is_written(stamps, partition, fingerprint) and not self._is_unsettled(reader, partition)
            frames: Frames = _Stored(self.lake, [table.name for table in step.writes], partition)
            current = current and (work.settled is None or work.settled(partition, frames))
            found = dict.fromkeys([*step.check_docs, *step.later_checks], Finding())
            ledger = work.ledger(partition, lease) if work.ledger else None
            if not current:
                computed = work.compute(partition)
                frames = {table.name: table.frame(computed[table.name]) for table in step.writes}
                found |= self._check(frames, set(work.clips_in(partition)) if work.clips_in else set())
                if any(finding.violations for finding in found.values()):
                    return Brought(partition, {"computed": True}, found)
                frames = self._put(frames, partition, fingerprint, lease)
            if ledger is not None:
                ledger.clear()
        found |= work.findings(partition, frames) if work.findings else {}
        rows = stamps[step.table.name, partition].rows if current else frames[step.table.name].height
        LOGGER.info("%s %s: %s, %d rows", step.asset, partition, "up to date" if current else "computed", rows)
        metadata = {
            "dagster/partition_row_count" if step.table.partitioned else ROW_COUNT: rows,
            "computed": not current,
            "fingerprint": fingerprint[:16],
            **(_outcomes(frames[step.outcomes]) if step.outcomes else {}),
            **(work.metadata(partition, frames) if work.metadata else {}),
        }
        return Brought(partition, metadata, found)

    def _put(self, frames: Frames, partition: str, fingerprint: str, lease: Lease) -> Frames:
        """Write the frames, and the settings that decided them; what was written, which `revise` may have changed."""
        written = [frames]
        said = [frames[POLICY_SETTINGS.name]] if POLICY_SETTINGS.name in frames else []
        with_settings = {**frames, POLICY_SETTINGS.name: pl.concat([*said, self._settings]).unique()}

        def revise(writer: Writer, frames: Frames) -> Frames:
            written.append(frames if self.work.revise is None else self.work.revise(writer, frames))
            return written[-1]

        self.lake.put(
            with_settings,
            partition,
            fingerprint,
            token=lease.token,
            settings_sha256=self._settings_sha256,
            revise=revise if self.work.revise else None,
        )
        return written[-1]

    def _is_unsettled(self, reader: Reader, partition: str) -> bool:
        """Whether a partition is unsettled. Of several partitions only those are asked about that were so when the run began: one
        question costs as much as one about all of them."""
        if self.unsettled is None or (self._asked_of is not None and partition not in self._asked_of):
            return False
        return not reader.sql(f"SELECT shard FROM ({self.unsettled}) WHERE shard = {quoted(partition)}").is_empty()

    def _unsettled_now(self) -> Collection[str]:
        return set() if self.unsettled is None else set(self.lake.sql(f"SELECT shard FROM ({self.unsettled})")["shard"])

    def _check(self, frames: Frames, clips_in: set[str]) -> dict[str, Finding]:
        found: dict[str, list[str]] = {name: [] for name in self.step.check_docs}
        for table in self.step.writes:
            if table.name in frames:
                found[CONTRACT] += [f"{table.name}: {message}" for message in table.violations(frames[table.name])]
        if self.step.counted_table is not None:
            found[COUNTS_ADD_UP] += _lost_or_invented(frames[self.step.counted_table], clips_in)
        for name, check in self.step.checks.items():
            found[name] += check(frames)
        return {name: Finding(len(messages), "; ".join(messages[:5]) or "none") for name, messages in found.items()}

    @property
    def _blocking(self) -> list[str]:
        return [*self.step.check_docs, *(name for name, spec in self.step.later_checks.items() if spec.blocking)]

    def _report(self, brought: Sequence[Brought], failed: Mapping[str, str]) -> dg.MaterializeResult:
        whole = self._with_row_count([result for result in brought if result.partition not in failed])
        checks = self._check_results(brought, fatal=False, failed=failed)
        if failed and (not whole or self._is_last()):
            self._log(whole, checks)
            raise ShardsFailed(failed, len(failed) + len(whole))
        for result in whole:
            self.context.add_asset_metadata(
                dict(result.metadata), asset_key=self.context.asset_key, partition_key=result.partition
            )
        for name, why in failed.items():  # Dagster counts every partition of a run that goes on as materialized
            self.context.add_asset_metadata({"failed": why}, asset_key=self.context.asset_key, partition_key=name)
        return dg.MaterializeResult(check_results=checks)

    def _log(self, whole: Sequence[Brought], checks: Sequence[dg.AssetCheckResult]) -> None:
        """Tell Dagster at once: what `context.log_event` takes is lost when the step fails."""
        step = self.context.get_step_execution_context()
        for result in whole:
            done = dg.AssetMaterialization(self.context.asset_key, partition=result.partition, metadata=dict(result.metadata))
            dg.DagsterEvent.asset_materialization(step, done)
        for check in checks:
            dg.DagsterEvent.asset_check_evaluation(step, check.to_asset_check_evaluation(step))

    def _result(self, brought: Brought) -> dg.MaterializeResult:
        [one] = self._with_row_count([brought])
        return dg.MaterializeResult(metadata=dict(one.metadata), check_results=self._check_results([brought], fatal=True))

    def _with_row_count(self, brought: Sequence[Brought]) -> list[Brought]:
        """Add the rows of the whole table, which one question answers for all shards of the run."""
        if not self.step.table.partitioned:
            return list(brought)
        rows = self.lake.row_count(self.step.table.name)
        return [result._replace(metadata={ROW_COUNT: rows, **result.metadata}) for result in brought]

    def _check_results(
        self, brought: Sequence[Brought], *, fatal: bool, failed: Mapping[str, str] | None = None
    ) -> list[dg.AssetCheckResult]:
        """One result a check; of several shards it warns, for an error would stop the shards that are whole.

        Args:
            failed: shards that were not brought up to date break the contract: "re-execute from asset failure" then takes this
                asset in, and the asset's page shows it.
        """
        results = []
        lost = {name: why for name, why in (failed or {}).items() if name not in {result.partition for result in brought}}
        missing = [(name, Finding(1, f"not brought up to date: {why}")) for name, why in lost.items()]
        for name in [*self.step.check_docs, *self.step.later_checks]:
            found = [(result.partition, result.found[name]) for result in brought] + (missing if name == CONTRACT else [])
            if not found:
                continue
            broken = [(partition, finding) for partition, finding in found if finding.violations]
            first = broken[0] if broken else found[0]
            is_error = fatal and name in self._blocking
            results.append(
                dg.AssetCheckResult(
                    check_name=name,
                    passed=not broken,
                    severity=dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
                    metadata={
                        "violations": sum(finding.violations for _, finding in found),
                        "first": first[1].first,
                        **({} if fatal else {"shards": ", ".join(partition for partition, _ in broken) or "none"}),
                    },
                )
            )
        return results

    def _is_last(self) -> bool:
        """Whether no asset of this run comes after this one."""
        layer = self.context.job_def.asset_layer
        children = layer.asset_graph.get(self.context.asset_key).child_keys
        return not children & set(layer.selected_asset_keys)


def _lost_or_invented(frame: pl.DataFrame, clips_in: set[str]) -> list[str]:
    out = set(frame["clip_id"].to_list())
    return [
        f"{len(clips)} clips {what}, the first {min(clips)}"
        for what, clips in (("lost", clips_in - out), ("invented", out - clips_in))
        if clips
    ]


def _outcomes(frame: pl.DataFrame) -> dict[str, Any]:
    counted = frame.group_by("status", "reason").len().sort("status", "reason")
    rows = [dg.TableRecord({"status": s, "reason": r or "", "clips": n}) for s, r, n in counted.rows()]
    return {"outcomes": dg.MetadataValue.table(rows) if rows else "no clips", **shard_rates(frame)}
