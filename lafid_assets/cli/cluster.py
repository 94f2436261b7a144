"""Runs that go out to a cluster: asked for, those that are on their way joined, watched until they have ended.

Belongs here: a command's view of many runs at once, in Dagster's records. Not here: which partitions need one (`materialize`),
asking for one (`webserver`), launching (Dagster's daemon and its run launcher), what a run computes.
"""

import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG
from dagster._utils.tags import get_boolean_tag_value

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.webserver import Webserver
from lafid_assets.jobs import ACTIVE, assets_of
from lafid_assets.lafid_toml.settings_check import deciding_sha256
from lafid_assets.runs.failure_line import one_line
from lafid_assets.runs.run_failure import AGAIN, raise_interrupt, why_failed
from lafid_assets.runs.run_settings import SETTINGS_TAG
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.partitions import ends_of, run_tags, runs_of
from lafid_assets.steps.staleness import is_current, stale_shards
from model.wording import first_few
from resources.lake.lake import UNPARTITIONED, Lake
from resources.transient_errors import is_transient

LOGGER = logging.getLogger("lafid.cluster")

BY_TAG, BY = "lafid/by", "command line"
ASKED_TAG = "lafid/asked"
"""Tag of the runs that one command asked for: under it they are found and cancelled together."""
ASKING = "runs are asked for"
"""The lease under which a command looks what is on its way, and asks for the rest."""
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_BETWEEN_COUNTS = 10.0
SHARE_OF_COUNTING = 0.05
"""Counting what is done asks the lake for all shards: of the time that a command watches no more than this."""
LONGEST_SILENCE_S = 900.0
"""How long records or lake may be away before a command gives up watching; the runs do not."""
ROUNDS = 3
"""How often a command asks for what was lost before it began."""


@dataclass
class _Round:
    """Runs that are watched together.

    Attributes:
        what: they do, in words.
        going: run to its partitions.
        others: those of them that another asked for.
        failures: a line for each run that failed.
        killed: line to partitions of runs that failed and left nobody to say why: what the lake holds decides of them.
        again: partitions of runs that another asked for, or that never began: to be asked for where they are not current then.
    """

    what: str
    going: dict[str, list[str]]
    others: frozenset[str]
    failures: list[str] = field(default_factory=list)
    killed: dict[str, list[str]] = field(default_factory=dict)
    again: set[str] = field(default_factory=set)


class Cluster:
    """The cluster behind a Dagster instance. `count`: is told of every materialization."""

    def __init__(
        self, instance: dg.DagsterInstance, webserver: Webserver, lake: Lake, count: Callable[[dg.AssetMaterialization], None]
    ) -> None:
        self.instance, self.webserver, self.lake, self.count = instance, webserver, lake, count
        self.asked = uuid.uuid4().hex[:12]

    def bring(
        self,
        assets: Sequence[str],
        what: str,
        ops: Mapping[str, Any],
        partitions: Sequence[str] = (),
        order: Sequence[str] = (),
        most: int = 1,
    ) -> list[str]:
        """Bring partitions of the assets up to date, or assets without partitions. What another command or a schedule has asked
        for already, under the same settings, is joined and not asked for again.

        Args:
            what: is done, in words.
            ops: what the assets are told, every line of them.
            order: all shards, as Dagster orders them.
            most: shards in a run.

        Returns:
            a line for each run that failed, when all have ended.

        Raises:
            WebserverUnusable: no run can be asked for; those that were go on.
        """
        left, failures = list(partitions) or [UNPARTITIONED], []
        for number in range(ROUNDS):
            runs = self._ask(assets, what, ops, left, order, most)
            with self._left_alone(runs.going), working(f"{what} in the cluster"):
                self._watch(runs, _Counting(self.lake, assets, ops, left))
            lost = {partition for partitions in runs.killed.values() for partition in partitions}
            stale = set(_Counting(self.lake, assets, ops, sorted(runs.again | lost)).stale())
            failures += [line for line, partitions in runs.killed.items() if stale & set(partitions)] + runs.failures
            if not (left := sorted(runs.again & stale)):
                return failures
            if number == ROUNDS - 1:
                break
            CONSOLE.print(f"{_named(what, left)}: asked for again, since what was on its way did not do it", style="yellow")
            time.sleep(SECONDS_BETWEEN_COUNTS)
        return [*failures, f"{_named(what, left)}: no run began in {ROUNDS} tries: see whether the cluster's nodes are up"]

    def _ask(
        self, assets: Sequence[str], what: str, ops: Mapping[str, Any], left: list[str], order: Sequence[str], most: int
    ) -> _Round:
        settings = deciding_sha256(ops)[:16]
        tags = {BY_TAG: BY, ASKED_TAG: self.asked, SETTINGS_TAG: settings}
        with self.lake.leases.held(ASKING):
            others = self._on_the_way(set(assets), settings, set(left), order)
            taken = {partition for partitions in others.values() for partition in partitions}
            rest = set(left) - taken
            batches = [[UNPARTITIONED]] if rest == {UNPARTITIONED} else runs_of(rest, order, most)
            runs = _Round(what, dict(others), frozenset(others))
            with self._left_alone(runs.going), working(f"{what}: asking for {len(batches)} runs"):
                for number, batch in enumerate(batches, 1):
                    between = {} if batch == [UNPARTITIONED] else run_tags(batch)
                    runs.going[self.webserver.ask(assets, ops, tags | between)] = batch
                    LOGGER.info("%d of %d", number, len(batches))
        joined = f", joined {len(others)} that were on their way" if others else ""
        CONSOLE.print(f"{what}: asked for {len(batches)} runs{joined}")
        return runs

    def _on_the_way(
        self, assets: Collection[str], settings: str, wanted: Collection[str], order: Sequence[str]
    ) -> dict[str, list[str]]:
        """Runs that have not ended and bring any of these partitions, under these settings, to where they shall be."""
        place = {shard: number for number, shard in enumerate(order)}
        found = {}
        for run in self.instance.get_runs(dg.RunsFilter(statuses=list(ACTIVE), tags={SETTINGS_TAG: settings})):
            ends = ends_of(run.tags)
            if not assets_of(run) >= set(assets) or run.status == dg.DagsterRunStatus.CANCELING:
                continue
            if ends is None:
                partitions = [UNPARTITIONED]
            elif set(ends) <= place.keys():
                partitions = [*order[place[ends[0]] : place[ends[1]] + 1]]
            else:  # Dagster was told to forget a shard
                continue
            if set(wanted) & set(partitions):
                found[run.run_id] = partitions
        return found

    @contextmanager
    def _left_alone(self, going: Mapping[str, list[str]]) -> Iterator[None]:
        """Whoever interrupts the command is told what goes on without it."""
        try:
            yield
        except BaseException:
            if going:
                where = self.webserver.listing(ASKED_TAG, self.asked)
                CONSOLE.print(
                    f"{len(going)} runs go on in the cluster: the same command watches them again; cancel them at {where}",
                    style="yellow",
                )
            raise

    def _watch(self, runs: _Round, counting: "_Counting") -> None:
        silent_since: float | None = None
        while runs.going:
            time.sleep(SECONDS_BETWEEN_LOOKS)
            try:
                self._look(runs)
                if runs.going:
                    LOGGER.info("%s", self._how_far(runs, counting))
                silent_since = None
            except Exception as error:  # the runs go on without records, too
                raise_interrupt(error)
                now = time.monotonic()
                if not is_transient(error) or (silent_since is not None and now - silent_since > LONGEST_SILENCE_S):
                    raise
                if silent_since is None:
                    silent_since = now
                    LOGGER.warning("%s: cannot look after the runs (%s); looking again", runs.what, one_line(error))

    def _look(self, runs: _Round) -> None:
        """Settle what has ended since the last look. A run's body is read once."""
        ids = list(runs.going)
        there = set(self.instance.get_run_ids(dg.RunsFilter(run_ids=ids)))
        for run_id in set(ids) - there:  # somebody deleted its records
            runs.again |= set(runs.going.pop(run_id))
        ended = self.instance.get_run_ids(dg.RunsFilter(run_ids=[*there], statuses=[*FINISHED_STATUSES])) if there else []
        for record in self.instance.get_run_records(dg.RunsFilter(run_ids=[*ended]), ascending=True) if ended else []:
            self._settle(runs, record)

    def _settle(self, runs: _Round, record: dg.RunRecord) -> None:
        """Reads first: a look that fails in the middle is done again."""
        run, page = record.dagster_run, self.webserver.page(record.dagster_run.run_id)
        failed, partitions = run.status == dg.DagsterRunStatus.FAILURE, runs.going[run.run_id]
        successor = run.tags.get(AUTO_RETRY_RUN_ID_TAG)
        if failed and not successor and self._may_be_tried_again(run):
            return
        made = [
            entry.dagster_event for entry in self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        ]
        has_begun = record.start_time is not None
        if failed and successor:
            runs.going[successor] = partitions
        elif run.status == dg.DagsterRunStatus.CANCELED:
            runs.failures.append(f"{_named(runs.what, partitions)}: the run was cancelled: {AGAIN} [{page}]")
        elif failed and has_begun:
            line = f"{why_failed(self.instance, run.run_id)} [log: {page}]"
            if self.instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
                runs.failures.append(line)
            else:
                runs.killed[line] = partitions
        elif failed or run.run_id in runs.others:
            runs.again |= set(partitions)
        del runs.going[run.run_id]
        for event in made:
            if event is not None:
                self.count(event.step_materialization_data.materialization)

    def _may_be_tried_again(self, run: dg.DagsterRun) -> bool:
        """Dagster first records that a run failed, and decides then; on a busy machine a look falls between the two."""
        undecided = WILL_RETRY_TAG not in run.tags and self.instance.run_retries_enabled
        return undecided or bool(get_boolean_tag_value(run.tags.get(WILL_RETRY_TAG)))

    def _how_far(self, runs: _Round, counting: "_Counting") -> str:
        begun = self.instance.get_runs_count(
            dg.RunsFilter(run_ids=list(runs.going), statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING])
        )
        at_work = f"{begun} runs at work, {len(runs.going) - begun} wait"
        return ", ".join(filter(None, [counting.done(), at_work, counting.time_left()]))


def _named(what: str, partitions: Sequence[str]) -> str:
    return what if partitions == [UNPARTITIONED] else f"{what} {first_few(partitions)}"


class _Counting:
    """How many partitions are done, asked of the lake, seldom enough."""

    def __init__(self, lake: Lake, assets: Sequence[str], ops: Mapping[str, Any], partitions: Sequence[str]) -> None:
        self.lake, self.steps = lake, configured(assets, ops)
        self.of, self.left = len(partitions), list(partitions)
        self.begun = time.monotonic()
        self.next_at = self.begun + SECONDS_BETWEEN_COUNTS

    def stale(self) -> list[str]:
        """The partitions that are not current."""
        with self.lake.snapshot() as reader:
            if self.left == [UNPARTITIONED]:
                return [] if all(is_current(reader, step, config) for step, config in self.steps) else self.left
            return [*stale_shards(reader, self.steps, self.left)] if self.left else []

    def done(self) -> str:
        """What is done, in words; empty where there are no partitions."""
        if (now := time.monotonic()) >= self.next_at:
            self.left = self.stale()
            taken_s = time.monotonic() - now
            self.next_at = now + max(SECONDS_BETWEEN_COUNTS, taken_s / SHARE_OF_COUNTING)
        return "" if self.left == [UNPARTITIONED] else f"{self.of - len(self.left)} of {self.of} shards done"

    def time_left(self) -> str:
        """The time left in words, once there is something to reckon by."""
        done = self.of - len(self.left)
        if not done or not self.left:
            return ""
        return f"about {(time.monotonic() - self.begun) / done * len(self.left):.0f} s left"
