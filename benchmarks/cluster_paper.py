"""What curating 13.2 million clips on many machines takes, on paper: nodes, hours, S3 requests, rows, Dagster's event log.

Nothing runs here. `Measured` holds figures of one machine of two cores, each with where it comes from; the rest is arithmetic, in
`reckon`. Another machine's figures and another cluster are options.

    python -m benchmarks.cluster_paper [--clips N] [--cores N] [--days N] [--json]
"""

import argparse
import json
import math
import sys
from dataclasses import asdict, dataclass
from typing import Any

from lafid_assets.ingest.registration import DEFAULT_CLIPS_PER_SHARD
from lafid_assets.jobs import PER_SHARD
from lafid_assets.steps.partitions import shards_per_run

CLIPS = 13_200_000
SECONDS_A_DAY = 86_400


@dataclass(frozen=True)
class Measured:
    """Figures of this project on one machine. `walk`: counted in S3's log and in Postgres while docs/cluster.md was followed,
    with 21 clips in 4 shards.

    Attributes:
        faces_cpu_s: a clip in `face_info`, of the mix of a raw set, most of which the scan drops early (`benchmarks.face_info`).
        kept_cpu_s: the same of a clip that is kept.
        other_cpu_s: a clip in the other steps: its file probed, its sound listened to, its crops cut. An estimate.
        start_cpu_s: of a run before its first step begins its work (`lafid_assets.steps.partitions`).
        step_cpu_s: a shard's turn in one asset with nothing to measure: questions, one transaction (`benchmarks.scale`).
        gets_a_clip: that bring a clip from S3 to its node, for all steps together; 22 of 22 objects (walk).
        requests_a_kept_clip: crops, a request each: 184 of 12 clips (walk).
        seconds_a_part: a run keeps what is half done as often (`resources.store.ledger`).
        requests_a_part: its 8 files are written once, and read two and a half times, of two requests each (walk).
        requests_a_commit: files of tables, written once, and read by later steps: 153 in 28 commits, most tables of which are so
            small that they lie in the catalog (walk); of shards of 500 clips about 10.
        requests_a_run: what the first step asks of the store.
        rows_a_clip: of the lake's tables: 950 of 21 clips (walk).
        catalog_rows_a_commit: of DuckLake's own tables before compaction: a row for each column of each of about three files.
        catalog_bytes_a_row: in Postgres, indexes included (walk).
        events_a_run, events_a_step: of Dagster's event log: of a run, and of each asset in it (walk).
        events_a_shard: of each asset and shard in it (walk).
        seconds_a_line: between two lines of progress, each an event (`lafid_assets.progress`).
        event_bytes: a row of the event log, indexes included (walk).
    """

    faces_cpu_s: float = 0.270
    kept_cpu_s: float = 3.583
    other_cpu_s: float = 0.5
    start_cpu_s: float = 9.0
    step_cpu_s: float = 0.08
    gets_a_clip: float = 1.0
    requests_a_kept_clip: float = 15.3
    seconds_a_part: float = 5.0
    requests_a_part: float = 48.0
    requests_a_commit: float = 10.0
    requests_a_run: float = 2.0
    rows_a_clip: float = 45.0
    catalog_rows_a_commit: float = 60.0
    catalog_bytes_a_row: float = 207.0
    events_a_run: float = 8.0
    events_a_step: float = 9.0
    events_a_shard: float = 2.6
    seconds_a_line: float = 2.0
    event_bytes: float = 1_680.0


@dataclass(frozen=True)
class Plan:
    """A cluster and what it shall do.

    Attributes:
        cores: of a node.
        run_cores: that a run asks for.
        days: within which it shall be done.
        busy: share of the time that nodes compute: they also wait for clips, the catalog, and each other's end.
        kept: share of clips that no scan drops early.
    """

    clips: int = CLIPS
    clips_per_shard: int = DEFAULT_CLIPS_PER_SHARD
    cores: int = 32
    run_cores: int = 4
    days: float = 2.0
    busy: float = 0.8
    kept: float = 0.1


def reckon(plan: Plan, told: Measured) -> dict[str, Any]:
    """Everything as one object."""
    shards = math.ceil(plan.clips / plan.clips_per_shard)
    a_run = shards_per_run(shards, plan.clips, 8)
    runs = math.ceil(shards / a_run)
    steps = len(PER_SHARD)
    clip_cpu_s = (1 - plan.kept) * told.faces_cpu_s + plan.kept * told.kept_cpu_s + told.other_cpu_s
    work_cpu_s = plan.clips * clip_cpu_s + shards * steps * told.step_cpu_s
    start_cpu_s = runs * told.start_cpu_s * plan.run_cores
    core_days = (work_cpu_s + start_cpu_s) / SECONDS_A_DAY
    nodes = math.ceil(core_days / plan.busy / plan.cores / plan.days)
    hours = core_days / plan.busy / plan.cores / nodes * 24
    commits = shards * steps
    run_s = work_cpu_s / plan.run_cores
    requests = {
        "clips": plan.clips * told.gets_a_clip,
        "crops": plan.clips * plan.kept * told.requests_a_kept_clip,
        "ledger": run_s / told.seconds_a_part * told.requests_a_part,
        "tables": commits * told.requests_a_commit + runs * told.requests_a_run,
    }
    all_requests = sum(requests.values())
    events = runs * (told.events_a_run + steps * told.events_a_step) + commits * told.events_a_shard + run_s / told.seconds_a_line
    return {
        "clips": plan.clips,
        "shards": shards,
        "runs": runs,
        "shards_a_run": a_run,
        "cpu_s_a_clip": round(clip_cpu_s, 3),
        "start_share": start_cpu_s / (work_cpu_s + start_cpu_s),
        "core_days": round(core_days, 1),
        "nodes": nodes,
        "hours": round(hours, 1),
        "runs_at_once": nodes * plan.cores // plan.run_cores,
        "clips_an_hour": round(plan.clips / hours),
        "s3_requests": round(all_requests),
        "s3_requests_of": {name: round(count) for name, count in requests.items()},
        "s3_requests_a_second": round(all_requests / hours / 3600),
        "lake_rows": round(plan.clips * told.rows_a_clip),
        "commits": commits,
        "commits_a_second": round(commits / hours / 3600, 2),
        "catalog_rows_uncompacted": round(commits * told.catalog_rows_a_commit),
        "catalog_gb_uncompacted": round(commits * told.catalog_rows_a_commit * told.catalog_bytes_a_row / 1e9, 1),
        "events": round(events),
        "event_log_gb": round(events * told.event_bytes / 1e9, 2),
        "events_a_second": round(events / hours / 3600, 1),
    }


def in_markdown(found: dict[str, Any], plan: Plan) -> str:
    """The table of docs/cluster.md."""
    lines = {
        "clips, shards, runs": f"{found['clips']:,}, {found['shards']:,}, {found['runs']:,} of {found['shards_a_run']} shards",
        "CPU seconds a clip": f"{found['cpu_s_a_clip']}, of which a run's start is {found['start_share']:.1%}",
        f"nodes of {plan.cores} cores for {plan.days:g} days": f"{found['nodes']}, done in {found['hours']} h "
        f"({found['core_days']} core days, {plan.busy:.0%} of the time at work)",
        "runs at once": f"{found['runs_at_once']}: `max_concurrent_runs`, less those of one node",
        "S3 requests": f"{found['s3_requests'] / 1e6:.0f} million, {found['s3_requests_a_second']} a second: "
        + ", ".join(f"{name} {count / 1e6:.0f}" for name, count in found["s3_requests_of"].items()),
        "rows of the tables": f"{found['lake_rows'] / 1e6:,.0f} million",
        "transactions of the catalog": f"{found['commits']:,}, {found['commits_a_second']} a second",
        "rows of the catalog, before compaction": f"{found['catalog_rows_uncompacted'] / 1e6:.1f} million, "
        f"{found['catalog_gb_uncompacted']} GB",
        "Dagster's event log": f"{found['events'] / 1e6:.2f} million events, {found['event_log_gb']} GB, "
        f"{found['events_a_second']} a second",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in lines.items())])


def main() -> int:
    """Print the table, or one object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for settings in (Plan(), Measured()):
        for name, value in asdict(settings).items():
            parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--json", action="store_true")
    arguments = vars(parser.parse_args())
    plan, told = (kind(**{name: arguments[name] for name in asdict(kind())}) for kind in (Plan, Measured))
    found = reckon(plan, told)
    print(
        json.dumps({"plan": asdict(plan), "measured": asdict(told), **found}) if arguments["json"] else in_markdown(found, plan)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
