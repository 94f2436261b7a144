"""Dagster's pages on very many shards, in a real browser: `python -m benchmarks.ui_partitions [--shards 26400] [--json]`.

The home's lake holds so many shards of one file each, none curated; the UI is a real `lafid ui`. Told are the seconds until a
person sees the asset's page, its partitions and the dialog that materializes them (the median of several looks), and the CPU
seconds of a process that loads the code location. With --json the last line is one object: {shards, location_cpu_s, page_s,
partitions_s, dialog_s}.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dagster as dg

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.registration import register
from lafid_assets.lake import open_lake
from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.settings import Settings
from tests.ui.room import Room, browsing
from tests.ui.serving import serving

LOOKS = 3
LOAD = "from lafid_assets.definitions import defs; defs().get_repository_def().get_all_jobs()"


def install(home: Path, shards: int) -> str:
    """Shards of one file each, known to lake and Dagster; the last one's name."""
    drop = home / "drop"
    drop.mkdir(parents=True)
    for number in range(shards):
        (drop / f"{number:06d}.mp4").write_bytes(b"clip")
    settings = Settings(home=home, store_uri=str(home / "store"))
    os.environ["LAFID_HOME"] = str(home)
    settings.prepare()
    lake = open_lake(settings)
    names = register(lake, list_files(drop), 1).shards
    lake.close()
    with dg.DagsterInstance.get() as instance:
        instance.add_dynamic_partitions(str(CLIP_SHARDS.name), names)
    return names[0]


def location_cpu_s() -> float:
    """CPU seconds of a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", LOAD], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def look(room: Room, first: str) -> dict[str, float]:
    """Seconds until each can be seen."""

    def seconds(act: Callable[[], object], seen: Callable[[], object]) -> float:
        start = time.monotonic()
        act()
        seen()
        return time.monotonic() - start

    page = seconds(lambda: room.open("/assets/raw_clips?view=overview"), lambda: room.see("Latest materialization"))
    partitions = seconds(lambda: room.open("/assets/raw_clips?view=partitions"), lambda: room.see(first))
    materialize = room.page.get_by_role("button", name="Materialize").first
    dialog = seconds(materialize.click, lambda: room.see("Launch backfill"))
    return {"page_s": page, "partitions_s": partitions, "dialog_s": dialog}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=int, default=26_400)
    parser.add_argument("--json", action="store_true", help="end with one object")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        first = install(home, arguments.shards)
        told = {"shards": float(arguments.shards), "location_cpu_s": location_cpu_s()}
        with serving(home) as (dagster, _), browsing(dagster.address) as room:
            room.open("/runs")  # the first page of all fetches the program
            room.see("Filter")
            looks = [look(room, first) for _ in range(LOOKS)]
        told |= {name: statistics.median(each[name] for each in looks) for name in looks[0]}
    for name, value in told.items():
        print(f"{name:16}{value:10.2f}")
    if arguments.json:
        print(json.dumps({name: round(value, 2) for name, value in told.items()}))


if __name__ == "__main__":
    main()
