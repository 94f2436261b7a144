"""`lafid whatif` on generated tables, against judging the faces anew: `python -m benchmarks.whatif [--clips 180000] [--json]`.

Ours is the command as users type it, a process of its own that reads the published DuckDB file. The alternative is what stored
measures spare: reading every face and measuring and judging the clips once more, in a process that is already there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.decide import FACES_PER_CLIP, POLICY, decide_ours, generate
from lafid_assets.constraints.decision import decide_clips
from lafid_assets.contract import TableSchema, comments
from lafid_assets.schemas import FACE_CLIPS, FACE_FRAMES, FACE_INFO, POSE_FILTERED_CLIPS, RAW_CLIPS, TABLES
from resources.settings import Settings
from resources.shard_store import ShardStore
from resources.warehouse import Warehouse

SHARD = "shard-00000"
QUESTIONS = {
    "another threshold": ["--set", "pose_variation_min_deg=90"],
    "another policy": ["--policy", "faithfulfaces"],
}


def install(home: Path, clips: int) -> Path:
    """A home whose published database holds the generated tables, decided by the standing policy; gives their folder."""
    folder = home / "generated"
    folder.mkdir(parents=True)
    generate(folder, clips)
    settings = Settings(home=home, store_uri=str(home / "store"))
    store = ShardStore(settings.store_uri)
    generated = {
        table: pl.read_parquet(folder / f"{table.name}.parquet") for table in (RAW_CLIPS, FACE_CLIPS, FACE_INFO, FACE_FRAMES)
    }
    decided = decide_clips(*generated.values(), POLICY).with_columns(
        policy=pl.lit(POLICY.name), policy_settings=pl.lit(POLICY.model_dump_json())
    )
    for table, rows in (generated | {POSE_FILTERED_CLIPS: decided}).items():
        store.write_group({table.name: _whole(table, rows)}, SHARD, "generated")
    Warehouse(settings.warehouse_path, store, comments(TABLES)).rebuild()
    return folder


def _whole(table: TableSchema, rows: pl.DataFrame) -> pl.DataFrame:
    """Every column of the table, NULL where nothing was generated."""
    generated = rows.with_columns(shard=pl.lit(SHARD))
    return generated.select(
        (pl.col(name) if name in generated.columns else pl.lit(None).alias(name)).cast(dtype)
        for name, dtype in table.dtypes.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=180_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one object last")
    arguments = parser.parse_args()
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = install(Path(name) / "home", arguments.clips)
        for question, options in QUESTIONS.items():
            command = [str(Path(sys.executable).parent / "lafid"), "whatif", *options, "--home", str(folder.parent)]
            seconds[question] = min(_seconds(command) for _ in range(arguments.rounds))
        began = time.perf_counter()
        decide_ours(folder)
        anew_s = time.perf_counter() - began
    table = Table("question", "seconds", "anew / ours", title=f"{arguments.clips:,} clips of {FACES_PER_CLIP} faces")
    for question, ours_s in seconds.items():
        table.add_row(question, f"{ours_s:.2f}", f"{anew_s / ours_s:.2f}")
    table.add_row("judging all faces anew", f"{anew_s:.2f}", "")
    Console().print(table)
    if arguments.json:
        slowest_s = max(seconds.values())
        print(json.dumps({"seconds": slowest_s, "ratio_anew": anew_s / slowest_s, "clips": arguments.clips}))


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
