"""The operations that `benchmarks.scale` measures: one of them, on a home, in this process.

    python -m benchmarks.scale_operations OPERATION HOME SHARDS

Belongs here: what is run, and what it costs. Not here: rows (`scale_rows`), sizes and the table (`scale`).
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from pydantic import BaseModel

from benchmarks.scale_rows import CLIPS_PER_SHARD, listed, shard_frames, shard_name
from lafid_assets.cli.forget import run_forget
from lafid_assets.cli.materialize import CurationChoices, open_materializer
from lafid_assets.dataset.lafid_dataset import put_together
from lafid_assets.faces.clip_record import margins_row
from lafid_assets.faces.face_info import _recipe
from lafid_assets.ingest.registration import REGISTERED, Registered, register
from lafid_assets.jobs import PER_SHARD
from lafid_assets.lake import open_lake
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import CLIP_FILES, CLIP_ROOTS, CLIP_ROWS, FACE_INFO, LAFID_DATASET, POLICY_SETTINGS
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.staleness import Chain, stale_shards
from lafid_assets.steps.step import Step
from resources.lake import upkeep
from resources.lake.lake import UNPARTITIONED, Lake
from resources.lake.writer import Writer
from resources.settings import Settings

SHARDS_AT_ONCE = 25
"""Laid in one transaction: a first curation takes one a step and shard, but laying is not what is measured."""
PUTS = 10
BYTES_PER_GB = 1 << 30


@dataclass(frozen=True)
class Cost:
    """CPU s and MB written of the operation, its seconds by the clock, peak memory of the process in GB."""

    cpu_s: float
    mb_written: float
    seconds: float
    peak_gb: float

    def __str__(self) -> str:
        return f"{self.cpu_s:.3g} CPU s, {self.seconds:.3g} s, {self.mb_written:.3g} MB, {self.peak_gb:.2f} GB"


Measured = Iterator[Callable[[], Cost]]


@contextmanager
def measured(times: int = 1) -> Measured:
    """What the block costs, of each of `times` repetitions."""
    cost: list[Cost] = []
    before, began = _spent(), time.perf_counter()
    yield lambda: cost[0]
    seconds = time.perf_counter() - began
    cpu_s, mb_written = (after - at_first for after, at_first in zip(_spent(), before, strict=True))
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / BYTES_PER_GB
    cost.append(Cost(cpu_s / times, mb_written / times, seconds / times, peak_gb))


def _spent() -> tuple[float, float]:
    """CPU s and MB written so far, of this process and the children it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    # SQLite makes the index of its log anew whenever it is opened, in a file of 32 KB that goes when it is closed: what is gone
    # before it was on the disk does not count, and a disk that is busy may take a page of it.
    written = int(io["write_bytes"]) - int(io["cancelled_write_bytes"])
    return sum(one.ru_utime + one.ru_stime for one in usage), written / 1e6


def lay(home: Path, shards: int) -> Cost:
    """Generated shards into the lake, each step under the fingerprint that makes it current; not to be compared.

    The last ones come step by step, so that as many small files lie there as halfway between two compactions.
    """
    lake = open_lake(_settings(home))
    steps = configured(PER_SHARD, CurationChoices().ops)
    together = max(0, shards - upkeep.EVERY // 2 // len(steps))
    with measured() as cost:
        for first in range(0, together, SHARDS_AT_ONCE):
            _lay(lake, range(first, min(first + SHARDS_AT_ONCE, together)), steps)
        upkeep.compact(lake)
        for number in range(together, shards):
            _lay(lake, [number], steps, step_by_step=True)
    lake.close()
    return cost()


def _lay(lake: Lake, numbers: Sequence[int], steps: Chain, *, step_by_step: bool = False) -> None:
    decided, policies = _settings_of(steps)
    per_shard = [shard_frames(number, decided) for number in numbers]
    frames = {name: pl.concat([shard[name] for shard in per_shard]) for name in per_shard[0]}
    shards = [shard_name(number) for number in numbers]
    roots = CLIP_ROOTS.frame(frames[CLIP_FILES.name].select("clip_root", "seen_at").unique())

    def take_in(writer: Writer) -> None:
        writer.put({table.name: frames[table.name] for table in (CLIP_FILES, CLIP_ROWS)}, dict.fromkeys(shards, REGISTERED))
        writer.put({CLIP_ROOTS.name: roots}, {UNPARTITIONED: ""})
        writer.add(POLICY_SETTINGS.name, policies)

    def put_step(step: Step, config: BaseModel, writer: Writer) -> None:
        stamps, facts = writer.stamps([*step.reads, CLIP_ROOTS.name]), step.facts(config)
        own = {table.name: frames[table.name] for table in step.writes if table.name in frames}
        writer.put(own, {shard: step.fingerprint(stamps, shard, facts) for shard in shards})

    changes = [take_in, *(partial(put_step, step, config) for step, config in steps)]
    if step_by_step:
        for change in changes:
            lake.commit(change)
    else:
        lake.commit(lambda writer: [change(writer) for change in changes])


def _settings_of(steps: Chain) -> tuple[dict[str, str], pl.DataFrame]:
    """What `scale_rows.shard_frames` wants to know, and the rows of `policy_settings`."""
    configs = {step.asset: config for step, config in steps}
    recipe: Any = _recipe(configs[FACE_INFO.name])  # type: ignore[arg-type]
    margins = margins_row(recipe.settings)
    said = {
        name: settings_row(configs[name].model_dump_json())
        for name in ("pose_filtered_clips", "id_consistent_clips", "speech_tagged_clips")
    }
    shas = {name: sha for name, (sha, _) in said.items()} | {
        "measures": recipe.prints.measures,
        "scan_margins_sha256": margins[0],
    }
    return shas, pl.concat([margins[1], *(row for _, row in said.values())]).unique()


def put(home: Path, shards: int) -> Cost:
    """A step of one shard put anew: mean of the seven steps, which write two tables each."""
    return _put_anew(home, shards, PER_SHARD)


def put_faces(home: Path, shards: int) -> Cost:
    """The dearest of them, `face_info` with its four tables."""
    return _put_anew(home, shards, [FACE_INFO.name])


def _put_anew(home: Path, shards: int, assets: Sequence[str]) -> Cost:
    lake = open_lake(_settings(home))
    steps = configured(PER_SHARD, CurationChoices().ops)
    decided, _ = _settings_of(steps)
    chosen = range(0, shards, max(1, shards // PUTS))[:PUTS]
    frames = {shard_name(number): shard_frames(number, decided) for number in chosen}
    stamps = lake.stamps(partitions=frames)

    def put_all(shard: str) -> None:
        for step, _ in steps:
            if step.asset in assets:
                own = {table.name: frames[shard][table.name] for table in step.writes if table.name in frames[shard]}
                lake.put(own, shard, stamps[step.table.name, shard].fingerprint)

    put_all(next(iter(frames)))  # the first of a process imports and attaches
    # Its share of a compaction is counted apart.
    with lake.leases.held(upkeep.LEASE), measured(len(frames) * len(assets)) as cost:
        for shard in frames:
            put_all(shard)
    return cost()


def compact(home: Path, shards: int) -> Cost:
    """A compaction; a commit bears a 300th of it."""
    lake = open_lake(_settings(home))
    lake.stamps()
    with measured() as cost:
        upkeep.compact(lake)
    return cost()


def uptodate(home: Path, shards: int) -> Cost:
    """Finding out that all steps of all shards are current, as `lafid curate` and the schedules do."""
    lake = open_lake(_settings(home))
    steps = configured(PER_SHARD, CurationChoices().ops)
    lake.stamps([FACE_INFO.name])
    for step, config in steps:  # imports engines; a checkout that is new has their bytecode written
        step.facts(config)
    with measured() as cost, lake.snapshot() as reader:
        stale = stale_shards(reader, steps, [shard_name(number) for number in range(shards)])
    if stale:
        sys.exit(f"{len(stale)} shards are not current, the first: {next(iter(stale.items()))}")
    return cost()


def refresh(home: Path, shards: int) -> Cost:
    """The dataset with one new shard: persons, training table, report, plain file and the catalog's copy, through Dagster."""
    materializer = open_materializer(_settings(home))
    materializer.know()
    materializer.refresh()
    _lay(materializer.lake, [shards], configured(PER_SHARD, CurationChoices().ops))
    materializer.tally.computed.clear()
    with measured() as cost:
        materializer.refresh()
    if not materializer.tally.computed:
        sys.exit("the refresh computed nothing")
    return cost()


def dataset(home: Path, shards: int) -> Cost:
    """What `lafid_dataset` computes."""
    lake = open_lake(_settings(home))
    with TemporaryDirectory() as folder, lake.snapshot() as reader, measured() as cost:
        made = put_together(reader, Path(folder))
    if made.rows.is_empty():
        sys.exit("the dataset is empty")
    return cost()


def register_new(home: Path, shards: int) -> Cost:
    """Taking in a folder with as many clips as the lake holds, into a lake of its own."""
    return _register(home, shards)[1]


def register_again(home: Path, shards: int) -> Cost:
    """The same folder once more, with nothing new."""
    registered, cost = _register(home, shards)
    if registered.new:
        sys.exit(f"registering again found {registered.new} new files")
    return cost


def _register(home: Path, shards: int) -> tuple[Registered, Cost]:
    lake = open_lake(_settings(home.with_name("registered")))
    files = listed(0, shards * CLIPS_PER_SHARD)
    lake.stamps()
    with measured() as cost:
        registered = register(lake, files)
    return registered, cost()


def query_count(home: Path, shards: int) -> Cost:
    """`SELECT count(*) FROM face_info`."""
    lake = open_lake(_settings(home), read_only=True)
    lake.stamps([FACE_INFO.name])
    with measured() as cost:
        lake.sql(f"SELECT count(*) FROM {FACE_INFO.name}")
    return cost()


def forget(home: Path, shards: int) -> Cost:
    """`lafid forget` of a kept clip."""
    settings = _settings(home)
    lake = open_lake(settings)
    [clip] = lake.sql(f"SELECT min(clip_id) AS clip_id FROM {LAFID_DATASET.name}")["clip_id"]
    lake.close()
    with measured() as cost:
        run_forget(settings, [clip], [], dry_run=False, delete_files=False)
    return cost()


def _settings(home: Path) -> Settings:
    os.environ["LAFID_HOME"] = os.environ["DAGSTER_HOME"] = str(home)
    home.mkdir(parents=True, exist_ok=True)
    return Settings(home=home, store_uri=str(home / "store"))


OPERATIONS: dict[str, Callable[[Path, int], Cost]] = {
    "lay": lay,
    "put": put,
    "put_faces": put_faces,
    "compact": compact,
    "uptodate": uptodate,
    "refresh": refresh,
    "dataset": dataset,
    "register": register_new,
    "register_again": register_again,
    "query_count": query_count,
    "forget": forget,
}
"""In the order in which they run at every size."""


if __name__ == "__main__":
    name, home, shards = sys.argv[1:]
    print(json.dumps(asdict(OPERATIONS[name](Path(home), int(shards)))))
