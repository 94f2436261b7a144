"""The trial: a cluster curates footage while faults are injected: its machines die, freeze, are cut off and come back.

Belongs here: which fault is injected when, and what is observed. Not here: the machines (`space`), what runs on them (`cluster`),
what must hold in the end (`test_trial`).

python -m tests.cluster.trial FOLDER FOOTAGE --form small|whole; as the first process of a site of its own (`space.APART`). It
ends, and all with it, when its standard input does. What was observed lies in FOLDER/report.json.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lafid_assets.lake import open_lake
from lafid_assets.schemas import TABLES
from resources.lake.writer import frame_digest
from resources.settings import PROJECT_ROOT, Settings
from tests.cluster.cluster import CPUS, Cluster, nodes_alive, running
from tests.cluster.space import Space, site_ending_with_trial

WAIT_S = 600.0
OUTAGE_S = 10.0
"""How long the head is away, and a killed node until it is set up anew."""
POLL_S = 0.3
FENCED_S = 60.0
"""How long a run that came back may take to find out that it lost its lease."""
FRESH_S = 5.0
"""Since the last heartbeat of an owner that counts as at work."""
LAPSE_S = 10.0
"""Since the last heartbeat of an owner that counts as dead, as `quick` says."""
WORK = ("face_info/", "speech_info/")
TIMES = ("seen_at", "made_at", "snapshot")
FENCED = ("is no longer held by this run", "could not be renewed", "was written by a later run")
"""What a run says that comes back after its successor has written."""
CURATE = """
import sys
from lafid_assets.cli import main, materialize
materialize.MOST_SHARDS_PER_RUN = int(sys.argv.pop(1))
main.main()
"""
"""`lafid` whose runs have so few shards that a trial has many."""


@dataclass
class Fault:
    """One that was injected.

    Attributes:
        at_s: seconds after the command began.
        where: the machine, and what was at work there.
    """

    what: str
    at_s: float
    where: str
    outcome: str = ""


@dataclass
class Report:
    """What the test checks, and the table prints."""

    faults: list[Fault] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    leases_left: list[str] = field(default_factory=list)
    slots_taken: int = 0
    computed_twice: dict[str, int] = field(default_factory=dict)
    runs: dict[str, int] = field(default_factory=dict)
    fenced: list[str] = field(default_factory=list)
    overwritten: list[str] = field(default_factory=list)
    tables: dict[str, str] = field(default_factory=dict)
    starts_s: list[float] = field(default_factory=list)
    up_s: float = 0.0
    whole_s: float = 0.0


def digests(settings: Settings) -> dict[str, str]:
    """Table to the digest of what it holds, but for when that was seen and made; dataset versions are rows of one of them."""
    lake = open_lake(settings, read_only=True)
    try:
        with lake.snapshot() as reader:
            held = {table.name: reader.sql(f"SELECT * FROM {table.name}").drop(TIMES, strict=False) for table in TABLES}
    finally:
        lake.close()
    return {name: frame_digest(rows.sort(rows.columns[:4])) for name, rows in held.items()}


class Trial:
    """One command on one cluster, and the faults meanwhile."""

    def __init__(self, cluster: Cluster, footage: Path, shards_per_run: int) -> None:
        self.cluster, self.report = cluster, Report()
        self._command = [sys.executable, "-c", CURATE, str(shards_per_run), "curate", str(footage), "--clips-per-shard", "1"]
        self._lake = open_lake(cluster.settings, read_only=True)
        self._running: subprocess.Popen[bytes]
        self._begun = time.monotonic()
        self._away: set[str] = set()

    # ---- what people do

    def curate(self, faults: Sequence[str] = ()) -> None:
        """The command, from its beginning to its end; meanwhile the faults are injected, one after the other. What a fault
        returns is called when all were."""
        log = self.cluster.folder / f"curate{len(self.report.commands) + 1}.log"
        self._begun = time.monotonic()
        with log.open("wb") as output:
            self._running = subprocess.Popen(
                self._command,
                cwd=PROJECT_ROOT,
                env=self.cluster.at("desk"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            recoveries = [recover for fault in faults if (recover := getattr(self, fault)()) is not None]
            for recover in recoveries:
                recover()
            self._running.wait(WAIT_S)
        finally:
            said = log.read_text(errors="replace")
            self.report.commands.append({"code": self._running.poll(), "s": round(self._now()), "said": said[-3000:]})

    def cancel(self) -> None:
        """Cancel a run at work, as a click in the UI does."""
        node = self._at_work()
        run = self._runs_at(node)[0]
        fault = self._injected("run cancelled", f"{node.name}: {run[:8]}")
        answer = self._ask("mutation($run: String!) {terminateRun(runId: $run) {__typename}}", run=run)
        self._until(lambda: run not in self._runs_at(node), "the cancelled run ends")
        gone_s = self._now() - fault.at_s
        self._until(lambda: self._status(run) not in ("STARTED", "CANCELING"), "its end is known")
        ended = f"{answer['terminateRun']['__typename']}, gone after {gone_s:.0f} s, {self._status(run)}"
        fault.outcome = f"{ended}; the next command does its work"

    # ---- faults of machines

    def kill_node(self) -> Callable[[], None]:
        """A node loses power in mid-run; it is not set up again."""
        return self._lose("node killed", Space.kill)

    def kill_and_replace_node(self) -> Callable[[], None]:
        """A node loses power in mid-run; some seconds later one of its name is there again."""

        def kill(node: Space) -> None:
            node.kill()
            threading.Timer(OUTAGE_S, self.cluster.add_node, [node.name]).start()

        return self._lose(f"node killed, replaced after {OUTAGE_S:.0f} s", kill)

    def freeze_node(self) -> Callable[[], None]:
        """A node freezes in mid-run, and goes on after its successor has written: first its runs, which nobody has told anything,
        then Ray, which ends them."""

        def wake(node: Space, fault: Fault) -> None:
            runs = [process for process in node.processes() if _is_run(process)]
            node.thaw([*runs, *(child for run in runs for child in run.children(recursive=True))])
            with suppress(AssertionError):
                self._until(lambda: bool(self._fenced_at(node)), "the sleeper says that it came too late", FENCED_S)
            self.report.fenced += self._fenced_at(node)
            fault.outcome += f"; the sleeper was fenced: {bool(self.report.fenced)}"
            node.thaw()

        return self._lose("node frozen, woken after its successor has written", Space.freeze, wake)

    def cut_off_node(self) -> Callable[[], None]:
        """A node loses its network in mid-run, and has it back when its successor has written."""

        def reconnect(node: Space, _: Fault) -> None:
            node.reconnect()
            time.sleep(OUTAGE_S)

        return self._lose("node cut off, reconnected after its successor has written", Space.cut_off, reconnect)

    def _lose(
        self, what: str, lose: Callable[[Space], None], bring_back: Callable[[Space, Fault], None] | None = None
    ) -> Callable[[], None]:
        """Lose a node at work. What is returned waits for the run that takes its work over, then brings the node back: what the
        successor has written must stay."""
        node = self._at_work()
        lose(node)
        unwritten = self._unwritten(node)
        if not unwritten and bring_back is not None:  # it came to an end just then, and would have nothing to write
            node.thaw()
            node.reconnect()
            return self._lose(what, lose, bring_back)
        self._away |= {node.name} if bring_back else set()
        fault = self._injected(what, f"{node.name}: {', '.join(unwritten)}")

        def recover() -> None:
            self._until(
                lambda: all(self._written(lease) > token for lease, token in unwritten.items()),
                f"successors have written {', '.join(unwritten)}",
            )
            fault.outcome = f"written by a successor, at the latest {self._now() - fault.at_s:.0f} s later"
            if bring_back is None:
                return
            written = {lease: self._written(lease) for lease in unwritten}
            bring_back(node, fault)
            self.report.overwritten += [lease for lease, token in written.items() if self._written(lease) < token]

        return recover

    def stop_head(self) -> Callable[[], None]:
        """Ray's head freezes for some seconds. What is returned counts what was lost by it."""
        self._at_work()
        before = self._begun_runs()
        fault = self._injected(f"head frozen for {OUTAGE_S:.0f} s", f"{len(before)} runs at work")
        self.cluster.head.freeze()
        time.sleep(OUTAGE_S)
        self.cluster.head.thaw()
        self._until(lambda: nodes_alive(self.cluster) > 1, "the head answers")

        def count() -> None:
            fault.outcome = f"{[self._status(run) for run in before].count('FAILURE')} of them lost"

        return count

    # ---- what is observed

    def inspect(self) -> None:
        """After it all: what is left behind, and what was done twice."""
        import dagster as dg

        with suppress(AssertionError):
            self._until(lambda: not self._held(LAPSE_S), "all leases are given back or have lapsed", 60)
        self.report.tables = digests(self.cluster.settings)
        self.report.leases_left = sorted(self._held(LAPSE_S))
        instance = dg.DagsterInstance.get()
        storage = instance.event_log_storage
        pools = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
        self.report.slots_taken = sum(pool.active_slot_count + pool.pending_step_count for pool in pools)
        computed: Counter[str] = Counter()
        for record in instance.get_run_records():
            run = record.dagster_run
            if record.start_time is not None:
                self.report.starts_s.append(round(record.start_time - record.create_timestamp.timestamp(), 1))
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
                assert entry.dagster_event is not None
                done = entry.dagster_event.step_materialization_data.materialization
                if done.partition and done.metadata["computed"].value:
                    computed[f"{done.asset_key.to_user_string()}/{done.partition}"] += 1
        self.report.computed_twice = {name: times for name, times in computed.items() if times > 1}
        self.report.runs = dict(Counter(record.dagster_run.status.value for record in instance.get_run_records()))

    def _injected(self, what: str, where: str) -> Fault:
        self.report.faults.append(Fault(what, round(self._now(), 1), where))
        print(f"{self._now():6.0f} s  {what}: {where}", flush=True)
        return self.report.faults[-1]

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _at_work(self) -> Space:
        """A node whose run looks at faces or listens to speech."""
        found: list[Space] = []

        def look() -> bool:
            assert self._running.poll() is None, "the command ended before all faults were injected"
            hosts = {host for lease, (host, _) in self._held(FRESH_S).items() if lease.startswith(WORK)}
            nodes = [self.cluster.nodes[host] for host in hosts - self._away if host in self.cluster.nodes]
            found.extend(node for node in nodes if self._runs_at(node))
            return bool(found)

        self._until(look, "a node is at work")
        return found[0]

    def _unwritten(self, node: Space) -> dict[str, int]:
        """What a node is at work on and has not written: leases and their tokens."""
        held = {lease: token for lease, (host, token) in self._held().items() if host == node.name and lease.startswith(WORK)}
        return {lease: token for lease, token in held.items() if self._written(lease) < token}

    def _held(self, silent_s: float = 1e9) -> dict[str, tuple[str, int]]:
        """Lease to host and token, of all that are taken by owners who were silent no longer than that."""
        silence = "extract(epoch FROM clock_timestamp()) - heartbeat"
        rows = self._query(f"SELECT name, owner, token FROM lafid_leases WHERE owner != '' AND {silence} < %s", silent_s)
        return {name: (json.loads(owner)["host"], int(token)) for name, owner, token in rows}

    def _written(self, lease: str) -> int:
        """The token under which the lease's partition was written; 0 for one that was not."""
        table, shard = lease.split("/")
        found = self._lake.sql(f"SELECT token FROM partitions WHERE table_name = '{table}' AND partition = '{shard}'")
        return int(found.item()) if found.height else 0

    def _runs_at(self, node: Space) -> list[str]:
        return [_run_id(process) for process in node.processes() if _is_run(process)]

    def _begun_runs(self) -> list[str]:
        """Runs that nothing else has happened to."""
        nodes = [node for name, node in self.cluster.nodes.items() if name not in self._away]
        return [run for node in nodes for run in self._runs_at(node)]

    def _status(self, run: str) -> str:
        return str(self._ask("query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}", run=run)["runOrError"]["status"])

    def _fenced_at(self, node: Space) -> list[str]:
        logs = self.cluster.folder.glob(f"r{node.address.rpartition('.')[2]}/session_2*/logs/job-driver-*.log")
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [line for line in lines if any(words in line for words in FENCED)]

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        body = json.dumps({"query": query, "variables": variables}).encode()
        url = f"{self.cluster.environment['LAFID_DAGSTER_URL']}/graphql"
        with urllib.request.urlopen(
            urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60
        ) as answer:
            return dict(json.load(answer)["data"])

    def _query(self, statement: str, *values: str | float) -> list[tuple[Any, ...]]:
        import psycopg2

        connection = psycopg2.connect(self.cluster.environment["LAFID_CATALOG"])
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, values)
                return list(cursor.fetchall())
        except psycopg2.errors.UndefinedTable:
            return []
        finally:
            connection.close()

    @staticmethod
    def _until(done: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
        give_up = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < give_up, f"waited {seconds:.0f} s in vain: {what}"
            time.sleep(POLL_S)


def _is_run(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        line = process.cmdline()
        return "execute_run" in line and "dagster" in line[1]
    return False


def _run_id(process: psutil.Process) -> str:
    return str(json.loads(process.cmdline()[-1])["pipeline_run_id"])


FORMS: dict[str, tuple[int, Sequence[str]]] = {
    "small": (2, ("kill_node", "freeze_node")),
    "whole": (3, ("kill_and_replace_node", "freeze_node", "cut_off_node", "stop_head", "cancel")),
}
"""Form to shards in a run, and the faults, one after the other."""
NODES = 3


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--form", choices=FORMS, required=True)
    told = parser.parse_args()
    shards_per_run, faults = FORMS[told.form]
    begun = time.monotonic()
    with site_ending_with_trial(told.folder), running(told.folder, NODES, most_runs=(NODES - 1) * CPUS) as cluster:
        trial = Trial(cluster, told.footage, shards_per_run)
        trial.report.up_s = round(time.monotonic() - begun, 1)
        print(f"up after {trial.report.up_s} s", flush=True)
        try:
            trial.curate(faults)
            if trial.report.commands[-1]["code"] != 0:
                trial.curate()
            trial.inspect()
        finally:
            trial.report.whole_s = round(time.monotonic() - begun, 1)
            (told.folder / "report.json").write_text(json.dumps(asdict(trial.report), indent=1))


if __name__ == "__main__":
    main()
