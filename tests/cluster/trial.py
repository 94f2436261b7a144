"""The trial: footage is curated by a cluster while its machines die, stand still, are cut off and come back.

Belongs here: what happens when, and what is seen of it. Not here: the machines (`space`), what runs on them (`cluster`), what
must hold in the end (`test_trial`).

python -m tests.cluster.trial FOLDER FOOTAGE --form small|whole; as the first process of a site of its own (`space.APART`). It
ends, and all with it, when its standard input does. What was seen lies in FOLDER/seen.json.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
import traceback
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
from tests.cluster.space import Space, end_with_input

WAIT_S = 600.0
GONE_S = 10.0
"""How long the head is away, and a killed node until it is set up anew."""
WAKING_S = 60.0
FRESH_S = 5.0
"""Since the last heartbeat of an owner that counts as at work."""
TIMES = ("seen_at", "made_at", "snapshot")
ENOUGH = ("is no longer held by this run", "could not be renewed", "was written by a later run")
"""What a run says that wakes after its successor has written."""
CURATE = """
import sys
from lafid_assets.cli import main, materialize
materialize.MOST_SHARDS_PER_RUN = int(sys.argv.pop(1))
main.main()
"""
"""`lafid` whose runs have so few shards that a trial has many."""


@dataclass
class Blow:
    """Something that happened.

    Attributes:
        at_s: seconds after the command began.
        hit: whom, and what was at work there.
        came: what became of it.
    """

    what: str
    at_s: float
    hit: str
    came: str = ""


@dataclass
class Seen:
    """What the test looks at, and the table prints."""

    blows: list[Blow] = field(default_factory=list)
    curated: list[dict[str, Any]] = field(default_factory=list)
    leases_left: list[str] = field(default_factory=list)
    places_taken: int = 0
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
    """One command on one cluster, and what happens meanwhile."""

    def __init__(self, cluster: Cluster, footage: Path, shards_per_run: int) -> None:
        self.cluster, self.seen = cluster, Seen()
        self._command = [sys.executable, "-c", CURATE, str(shards_per_run), "curate", str(footage), "--clips-per-shard", "1"]
        self._lake = open_lake(cluster.settings, read_only=True)
        self._begun = time.monotonic()
        self._away: set[str] = set()

    # ---- what people do

    def curate(self, blows: Sequence[str] = ()) -> None:
        """The command, from its beginning to its end; meanwhile these things happen, one after the other."""
        number = len(self.seen.curated) + 1
        log = self.cluster.folder / f"curate{number}.log"
        self._begun = time.monotonic()
        with log.open("wb") as output:
            command = subprocess.Popen(
                self._command,
                cwd=PROJECT_ROOT,
                env=self.cluster.at("desk"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            afterwards = [after for blow in blows if (after := getattr(self, blow)()) is not None]
            for after in afterwards:
                after()
            command.wait(WAIT_S)
        finally:
            said = log.read_text(errors="replace")
            self.seen.curated.append({"code": command.poll(), "s": round(self._now()), "said": said[-3000:]})

    def cancel(self) -> None:
        """Cancel a run at work, as a click in the UI does."""
        name, node, _ = self._at_work()
        run = self._runs_at(node)[0]
        blow = self._blow("run cancelled", f"{run[:8]} on {name}")
        answer = self._ask("mutation($run: String!) {terminateRun(runId: $run) {__typename}}", run=run)
        self._until(lambda: run not in self._runs_at(node), "the cancelled run ends")
        blow.came = (
            f"{answer['terminateRun']['__typename']}, gone after {self._now() - blow.at_s:.0f} s; the next command does it"
        )

    # ---- what happens to machines; what each returns is done when all has happened

    def kill_node(self) -> Callable[[], None]:
        """A node loses power in mid-run; some seconds later one of its name is there again."""
        name, node, lease = self._at_work()
        token = self._token(lease)
        blow = self._blow("node killed, there again after 10 s", f"{name}: {lease}")
        node.kill()
        threading.Timer(GONE_S, self.cluster.add_node, [name]).start()
        return lambda: self._successor(blow, lease, token)

    def freeze_node(self) -> Callable[[], None]:
        """A node stands still in mid-run, and goes on after its successor has written: first its runs, which nobody has told
        anything, then Ray, which ends them."""
        name, node, lease = self._at_work()
        node.freeze()
        self._away.add(name)
        token = self._token(lease)
        blow = self._blow("node stands still, wakes after its successor", f"{name}: {lease}")

        def wake() -> None:
            self._successor(blow, lease, token)
            written = self._written(lease)
            runs = [process for process in node.processes() if _is_run(process)]
            node.thaw([*runs, *(child for run in runs for child in run.children(recursive=True))])
            with suppress(AssertionError):
                self._until(lambda: bool(self._last_words(node)), "the sleeper says that it came too late", WAKING_S)
            self.seen.fenced += self._last_words(node)
            self._look_over(lease, written)
            node.thaw()
            blow.came += f"; the sleeper wrote nothing: {bool(self.seen.fenced)}"

        return wake

    def cut_off_node(self) -> Callable[[], None]:
        """A node loses its network in mid-run, and has it back when its successor has written."""
        name, node, lease = self._at_work()
        node.cut_off()
        self._away.add(name)
        token = self._token(lease)
        blow = self._blow("node cut off, let back after its successor", f"{name}: {lease}")

        def let_back() -> None:
            self._successor(blow, lease, token)
            written = self._written(lease)
            node.let_back()
            time.sleep(GONE_S)
            self._look_over(lease, written)

        return let_back

    def stop_head(self) -> None:
        """Ray's head stands still for some seconds.

        One that is killed is another matter: a job that is being started just then stays pending in Ray for ever, and keeps its
        CPUs until its node's Ray is started anew. Dagster gives it up after `start_timeout_seconds`.
        """
        self._at_work()
        before = self._begun_runs()
        blow = self._blow("head stopped for 10 s", f"{len(before)} runs at work")
        self.cluster.head.freeze()
        time.sleep(GONE_S)
        self.cluster.head.thaw()
        self._until(lambda: nodes_alive(self.cluster) > 1, "the head answers")
        lost = [run for run in before if self._status(run) == "FAILURE"]
        blow.came = f"{len(lost)} of them lost"

    # ---- what is seen

    def look(self) -> None:
        """After it all: what is left behind, and what was done twice."""
        import dagster as dg

        with suppress(AssertionError):
            self._until(lambda: not self._held(), "all leases are given back", 60)
        self.seen.tables = digests(self.cluster.settings)
        self.seen.leases_left = sorted(self._held())
        instance = dg.DagsterInstance.get()
        storage = instance.event_log_storage
        pools = [storage.get_concurrency_info(key) for key in storage.get_concurrency_keys()]
        self.seen.places_taken = sum(pool.active_slot_count + pool.pending_step_count for pool in pools)
        computed: Counter[str] = Counter()
        for record in instance.get_run_records():
            run = record.dagster_run
            if record.start_time is not None:
                self.seen.starts_s.append(round(record.start_time - record.create_timestamp.timestamp(), 1))
            for entry in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
                assert entry.dagster_event is not None
                done = entry.dagster_event.step_materialization_data.materialization
                if done.partition and done.metadata["computed"].value:
                    computed[f"{done.asset_key.to_user_string()}/{done.partition}"] += 1
        self.seen.computed_twice = {name: times for name, times in computed.items() if times > 1}
        self.seen.runs = dict(Counter(record.dagster_run.status.value for record in instance.get_run_records()))

    def _blow(self, what: str, hit: str) -> Blow:
        self.seen.blows.append(Blow(what, round(self._now(), 1), hit))
        print(f"{self._now():6.0f} s  {what}: {hit}", flush=True)
        return self.seen.blows[-1]

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _at_work(self) -> tuple[str, Space, str]:
        """A node that looks at faces, and the lease under which it does."""
        found: list[tuple[str, Space, str]] = []

        def look() -> bool:
            for lease, owner in self._held(FRESH_S).items():
                name = owner["host"]
                node = self.cluster.nodes.get(name)
                if lease.startswith(("face_info/", "speech_info/")) and node and name not in self._away and self._runs_at(node):
                    found.append((name, node, lease))
            return bool(found)

        self._until(look, "a node is at work")
        return found[-1]

    def _held(self, silent_s: float = 1e9) -> dict[str, dict[str, Any]]:
        """Lease to its owner, of all that are taken by owners who were silent no longer than that."""
        silence = "extract(epoch FROM clock_timestamp()) - heartbeat"
        rows = self._query(f"SELECT name, owner FROM lafid_leases WHERE owner != '' AND {silence} < %s", silent_s)
        return {name: json.loads(owner) for name, owner in rows}

    def _token(self, lease: str) -> int:
        [(token,)] = self._query("SELECT token FROM lafid_leases WHERE name = %s", lease)
        return int(token)

    def _written(self, lease: str) -> int:
        """The token under which the lease's partition was written; 0 for one that was not."""
        table, shard = lease.split("/")
        found = self._lake.sql(f"SELECT token FROM partitions WHERE table_name = '{table}' AND partition = '{shard}'")
        return int(found.item()) if found.height else 0

    def _successor(self, blow: Blow, lease: str, token: int) -> None:
        """Wait until somebody else has brought a lost lease's partition to its end."""
        self._until(lambda: self._written(lease) > token, f"a successor has written {lease}")
        blow.came = f"written by a successor, at the latest {self._now() - blow.at_s:.0f} s later"

    def _look_over(self, lease: str, written: int) -> None:
        if self._written(lease) < written:
            self.seen.overwritten.append(lease)

    def _runs_at(self, node: Space) -> list[str]:
        return [_run_id(process) for process in node.processes() if _is_run(process)]

    def _begun_runs(self) -> list[str]:
        """Runs that nothing else has happened to."""
        nodes = [node for name, node in self.cluster.nodes.items() if name not in self._away]
        return [run for node in nodes for run in self._runs_at(node)]

    def _status(self, run: str) -> str:
        return str(self._ask("query($run: ID!) {runOrError(runId: $run) {... on Run {status}}}", run=run)["runOrError"]["status"])

    def _last_words(self, node: Space) -> list[str]:
        logs = self.cluster.folder.glob(f"r{node.address.rpartition('.')[2]}/session_2*/logs/job-driver-*.log")
        lines = [line for log in logs for line in log.read_text(errors="replace").splitlines()]
        return [line for line in lines if any(words in line for words in ENOUGH)]

    def _ask(self, query: str, **variables: str) -> dict[str, Any]:
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
            time.sleep(0.1)


def _is_run(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        line = process.cmdline()
        return "execute_run" in line and "dagster" in line[1]
    return False


def _run_id(process: psutil.Process) -> str:
    return str(json.loads(process.cmdline()[-1])["pipeline_run_id"])


def _is_there(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


FORMS: dict[str, tuple[int, int, Sequence[str]]] = {
    "small": (2, 2, ("kill_node", "freeze_node")),
    "whole": (3, 3, ("kill_node", "freeze_node", "cut_off_node", "stop_head", "cancel")),
}
"""Form to nodes, shards in a run, and what happens, one after the other."""


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("footage", type=Path)
    parser.add_argument("--form", choices=FORMS, required=True)
    told = parser.parse_args()
    threading.Thread(target=end_with_input, args=[told.folder], daemon=True).start()
    nodes, shards_per_run, blows = FORMS[told.form]
    begun = time.monotonic()
    ended = 1  # what still runs in this site ends with this process
    try:
        with running(told.folder, nodes, most_runs=(nodes - 1) * CPUS) as cluster:
            trial = Trial(cluster, told.footage, shards_per_run)
            trial.seen.up_s = round(time.monotonic() - begun, 1)
            print(f"up after {trial.seen.up_s} s", flush=True)
            try:
                trial.curate(blows)
                if trial.seen.curated[-1]["code"] != 0:
                    trial.curate()
                trial.look()
                ended = 0
            finally:
                trial.seen.whole_s = round(time.monotonic() - begun, 1)
                (told.folder / "seen.json").write_text(json.dumps(asdict(trial.seen), indent=1))
    except Exception:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(ended)


if __name__ == "__main__":
    main()
