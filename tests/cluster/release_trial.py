"""The release on a cluster: an evaluation by two nodes with a GPU, a training that is cancelled and goes on, a run that is lost.

Belongs here: what is asked for, which node is lost when, what is observed. Not here: the machines (`space`), what runs on them
(`cluster`), what must hold in the end (`test_release_on_ray`).

python -m tests.cluster.release_trial FOLDER HOME; as `trial`. HOME is that of a demo: its dataset, latents, model and bench come
into the cluster's store, its evaluation does not.
"""

import argparse
import json
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from lafid_assets.cli.webserver import LOCATION, REPOSITORY, Webserver
from lafid_assets.lake import open_lake
from lafid_assets.release.draw_evaluation import NAME
from lafid_assets.release.evaluation_tasks import FOLDER
from lafid_assets.schemas import (
    EVALUATED_FRAMES,
    EVALUATED_VIDEOS,
    FUSION_DIT,
    LAFID_BENCH,
    LAFID_DATASET,
    MODEL_EVALUATION,
    TRAINING_LATENTS,
)
from resources.lake.lake import Lake
from resources.lake.writer import frame_digest
from resources.settings import Settings
from sensors.lost_runs import LOST_TAG
from tests.cluster.cluster import CPUS, Cluster, running
from tests.cluster.space import site_ending_with_trial
from tests.cluster.trial import OUTAGE_S, Trial

GPU_NODES = ("node2", "node3")
NODES = 3
SHARES = ("01", "02", "03", "04")
"""Three cases, two losses, and one to which nothing falls."""
EVALUATED = (MODEL_EVALUATION.name, EVALUATED_VIDEOS.name, EVALUATED_FRAMES.name)
GIVEN = (LAFID_DATASET.name, TRAINING_LATENTS.name, FUSION_DIT.name, LAFID_BENCH.name)
CODE = {"repositoryLocationName": LOCATION, "repositoryName": REPOSITORY}
FOLDERS = ("bases", "benches", "latents", "training_runs")
LAUNCH = """
grace_s = 60
[precompute_tags."dagster-ray/config"]
num_cpus = 1
num_gpus = 1
[tags."dagster-ray/config"]
num_cpus = 1
num_gpus = 1
"""
TRAINING = {"steps": 3000, "seed": 7, "train": {"checkpoint_every": 100_000, "checkpoint_minutes": 600}, "validation_clips": 0}
"""Nothing but its end saves a state."""
SAVED = re.compile(r"SIGTERM: the state after step (\d+) of")
STEP = re.compile(r"^step (\d+) of", re.MULTILINE)
ENDED = ("SUCCESS", "FAILURE", "CANCELED")


@dataclass
class Seen:
    """What the test checks.

    Attributes:
        nodes: run to the machine that worked on it.
        shares: share to the ends of its runs.
        videos: how many there are in the end; `videos_differ` are not one machine's, `drawn_by_asset` were drawn by no share.
        tables_differ: tables of the evaluation that are not one machine's.
        waited_for_gpu: how the third run with a GPU stood when one without, `not_held_up`, had ended.
        cancelled, saved_step: the end of the first training, and the step of its state; the second one `went_on_from` there.
        lost: the ends of the lost run and of the one that the sensor asked for.
        timeline: seconds and what happened.
    """

    nodes: dict[str, str] = field(default_factory=dict)
    shares: dict[str, list[str]] = field(default_factory=dict)
    share_nodes: list[str] = field(default_factory=list)
    videos: int = 0
    videos_differ: list[str] = field(default_factory=list)
    drawn_by_asset: list[str] = field(default_factory=list)
    tables_differ: list[str] = field(default_factory=list)
    training_nodes: list[str] = field(default_factory=list)
    waited_for_gpu: str = ""
    not_held_up: str = ""
    cancelled: str = ""
    saved_step: int = 0
    state_in_store: list[str] = field(default_factory=list)
    went_on_from: int = 0
    lost: list[str] = field(default_factory=list)
    timeline: list[tuple[float, str]] = field(default_factory=list)


class ReleaseTrial(Trial):
    """One evaluation, two trainings, one lost run."""

    def __init__(self, cluster: Cluster, home: Path) -> None:
        super().__init__(cluster, home, 1)
        self.seen = Seen()
        self.instance = dg.DagsterInstance.get()
        self.webserver = Webserver.from_environment()
        self.lake = open_lake(cluster.settings)
        self.alone = open_lake(Settings(home=home, store_uri=str(home / "store")), read_only=True)

    def seed(self) -> None:
        """What the demo has come to before its evaluation."""
        for (table, partition), stamp in self.alone.stamps(GIVEN).items():
            self.lake.put({table: self.alone.read(table, partition)}, partition, stamp.fingerprint)
        for folder in FOLDERS:
            for path in self.alone.store.list_tree(folder):
                self.lake.store.write_bytes(path, self.alone.store.read_bytes(path))
        self._tell("the demo's dataset, model and bench are in the store")

    def evaluate(self) -> None:
        """As the job's page asks for it; a node with a GPU is lost while its share is at work."""
        selector = {"partitionSetName": f"{NAME}_partition_set", "repositorySelector": CODE}
        query = "mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) {__typename}}"
        answer = self._ask(query, p={"selector": selector, "partitionNames": [*SHARES]})
        assert answer["launchPartitionBackfill"]["__typename"] == "LaunchBackfillSuccess", answer
        self._tell(f"asked for shares {', '.join(SHARES)}")
        self._until(lambda: self._look() and len(self._share_hosts()) == len(GPU_NODES), "both nodes draw a share")
        self._lose("node3", "its share at work")
        self._until(lambda: self._look() and self._are_settled(), "all shares are drawn, or given up")
        self.seen.shares = self._shares()
        self.seen.share_nodes = [node for run, node in self.seen.nodes.items() if self._job(run) == NAME]
        self._tell("all shares are drawn")
        before = self._videos()
        self._succeed(self._ask_for(["model_evaluation"]))
        after = self._videos()
        self.seen.drawn_by_asset = sorted(path for path in after if after[path] != before.get(path))
        self.seen.videos = len(after)
        self.seen.videos_differ = [
            path for path in after if self.lake.store.read_bytes(path) != self.alone.store.read_bytes(path)
        ]  # fmt: skip
        self.seen.tables_differ = [name for name in EVALUATED if _digest(self.lake, name) != _digest(self.alone, name)]
        self._tell("model_evaluation has collected")

    def train(self) -> None:
        """One training is cancelled; a second one of the same waits for it, and goes on. They have both GPUs: what needs one
        waits, what needs none does not."""
        ops = {"fusion_dit": {"config": TRAINING}}
        first = self._ask_for(["fusion_dit"], ops)
        self._until(lambda: self._look() and bool(STEP.findall(self._trainer_logs())), "the first training takes steps")
        second = self._ask_for(["fusion_dit"], ops)
        self._until(lambda: self._look() and second in self.seen.nodes and self._status(second) == "STARTED", "a second begins")
        waiting = self._ask_for(["model_evaluation"])
        self._until(lambda: self._status(waiting) == "STARTING", "a third run asks Ray for a GPU")
        free = self.webserver._client.submit_job_execution("compact_lake", LOCATION, REPOSITORY)
        self._succeed(free)
        self._look()
        self.seen.waited_for_gpu = self._status(waiting) if waiting not in self.seen.nodes else "has one"
        self.seen.not_held_up = self._status(free)
        self._tell("a run without a GPU came to its end while one with a GPU waits")
        self._ask("mutation($run: String!) {terminateRun(runId: $run) {__typename}}", run=first)
        self._until(lambda: self._look() and self._status(first) in ENDED, "the cancelled training ends")
        self.seen.cancelled = self._status(first)
        self._tell(f"the cancelled training has ended: {self.seen.cancelled}")
        saved = SAVED.findall(self._trainer_logs())
        self.seen.saved_step = int(saved[0]) if saved else 0
        there = self.lake.store.list_tree("training_runs")
        self.seen.state_in_store = [path for path in there if path.endswith("/state.json") and "/state/" in path]
        self._until(lambda: self._look() and self._after_saved() is not None, "the second training takes steps")
        self.seen.went_on_from = self._after_saved() or 0
        self.seen.training_nodes = [self.seen.nodes[first], self.seen.nodes[second]]
        self._tell(f"the second training went on: its first report is of step {self.seen.went_on_from}")
        self._ask("mutation($run: String!) {terminateRun(runId: $run) {__typename}}", run=second)
        self._until(lambda: self._look() and self._status(second) in ENDED, "the second training ends")
        self._succeed(waiting)

    def lose_a_run(self) -> None:
        """A run's node dies before the run has begun, and Dagster tries it no more: the sensor asks for it again."""
        selector = CODE | {"sensorName": "lost_runs"}
        query = "mutation($s: SensorSelector!) {startSensor(sensorSelector: $s) {__typename}}"
        assert self._ask(query, s=selector)["startSensor"]["__typename"] == "Sensor"
        run = self._ask_for(["model_evaluation"], tags={"dagster/max_retries": "0"})
        self._until(lambda: self._look() and run in self.seen.nodes, "the run's process is there")
        self._lose(self.seen.nodes[run], "a run that has not begun")
        self._until(lambda: self._status(run) in ENDED, "the lost run is failed")
        self._tell("the lost run has failed")
        [record] = self.instance.get_run_records(dg.RunsFilter(run_ids=[run]))
        self.seen.lost = [f"{self._status(run)}, begun: {record.start_time is not None}"]

        def again() -> list[str]:
            return [one.run_id for one in self.instance.get_runs(dg.RunsFilter(tags={LOST_TAG: f"{run} 1"}))]

        self._until(lambda: bool(again()), "the sensor asks for it again")
        self._tell("the sensor has asked for it again")
        self._until(lambda: self._status(again()[0]) in ENDED, "it ends")
        self.seen.lost.append(self._status(again()[0]))

    # ---- how it is looked at

    def _tell(self, what: str) -> None:
        self.seen.timeline.append((round(self._now(), 1), what))
        print(f"{self._now():6.0f} s  {what}", flush=True)

    def _ask_for(self, assets: list[str], ops: Mapping[str, Any] | None = None, tags: Mapping[str, str] | None = None) -> str:
        return self.webserver.ask(assets, ops or {}, tags or {})

    def _succeed(self, run: str) -> None:
        self._until(lambda: self._look() and self._status(run) in ENDED, f"run {run[:8]} ends")
        assert self._status(run) == "SUCCESS", f"{run}: {self._status(run)}"

    def _lose(self, name: str, what: str) -> None:  # type: ignore[override]
        self.cluster.nodes[name].kill()
        threading.Timer(OUTAGE_S, self.cluster.add_node, [name]).start()
        self._tell(f"{name} killed, {what}; replaced after {OUTAGE_S:.0f} s")

    def _look(self) -> bool:
        """Where runs are; always true, for it is half of a question."""
        for name, node in self.cluster.nodes.items():
            for run in self._runs_at(node):
                self.seen.nodes.setdefault(run, name)
        return True

    def _share_hosts(self) -> set[str]:
        return {host for lease, (host, _) in self._held().items() if lease.startswith(f"{NAME}/")}

    def _shares(self) -> dict[str, list[str]]:
        ends: dict[str, list[str]] = {share: [] for share in SHARES}
        for run in self.instance.get_runs(dg.RunsFilter(job_name=NAME)):
            ends[run.tags["dagster/partition"]].append(run.status.value)
        return ends

    def _are_settled(self) -> bool:
        runs = self.instance.get_runs(dg.RunsFilter(job_name=NAME))
        return all(run.is_finished and not run.is_complete_and_waiting_to_retry for run in runs)

    def _job(self, run_id: str) -> str:
        run = self.instance.get_run_by_id(run_id)
        return "" if run is None else run.job_name

    def _videos(self) -> dict[str, float]:
        """Path to when it was written, as the store's clock says."""
        now = time.time()
        return {path: round(now - age) for path, age in self.lake.store.ages(FOLDER).items() if path.endswith(".mp4")}

    def _trainer_logs(self) -> str:
        """Of all nodes, in the order in which their trainers began."""
        logs = sorted(
            self.cluster.folder.glob("home-*/cache/*/copies/training_runs/launches/*/trainer.log"), key=os.path.getmtime
        )
        return "\n".join(log.read_text(errors="replace") for log in sorted(logs, key=os.path.getmtime))

    def _after_saved(self) -> int | None:
        """The first step that a trainer reports after the state was saved."""
        _, saved, after = self._trainer_logs().partition("SIGTERM: the state after step ")
        found = STEP.search(after) if saved else None
        return int(found.group(1)) if found else None


def _digest(lake: Lake, table: str) -> str:
    rows = lake.read(table)
    return frame_digest(rows.sort(rows.columns[:4]))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("home", type=Path)
    told = parser.parse_args()
    launch = told.folder / "launch.toml"
    launch.write_text(LAUNCH)
    with (
        site_ending_with_trial(told.folder),
        running(told.folder, NODES, (NODES - 1) * CPUS, GPU_NODES, launch) as cluster,
    ):
        trial = ReleaseTrial(cluster, told.home)
        try:
            trial.seed()
            trial.evaluate()
            trial.train()
            trial.lose_a_run()
        finally:
            (told.folder / "report.json").write_text(json.dumps(asdict(trial.seen), indent=1))


if __name__ == "__main__":
    main()
