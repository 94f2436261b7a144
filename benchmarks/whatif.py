"""`lafid whatif` on generated tables, against judging the faces anew: `python -m benchmarks.whatif [--clips 180000] [--json]`.

Ours is the command as users type it, a process of its own that reads the lake. The alternative is what stored
measures spare: reading every face and measuring and judging the clips once more, in a process that is already there.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from benchmarks.decide import FACES_PER_CLIP, POLICY, decide_ours, generate
from lafid_assets.constraints.decision import decide_clips
from lafid_assets.lake import open_lake
from lafid_assets.policy_settings import settings_row
from lafid_assets.schemas import CLIPS, FACE_CLIPS, FACE_FRAMES, FACE_INFO, PICTURE_MEASURES, POLICY_SETTINGS, POSE_FILTERED_CLIPS
from lafid_assets.steps.contract import TableSchema
from resources.settings import Settings

CLIPS_PER_SHARD = 500
QUESTIONS = {"another threshold": ["--set", "pose_variation_min_deg=90"], "another policy": ["--policy", "faithfulfaces"]}


def install(home: Path, clips: int) -> Path:
    """A home whose lake holds the generated tables, decided by the standing policy, a file a shard; gives their folder."""
    folder = home / "generated"
    folder.mkdir(parents=True)
    generate(folder, clips)
    generated = {
        table: pl.read_parquet(folder / f"{table.name}.parquet")
        for table in (PICTURE_MEASURES, FACE_CLIPS, FACE_INFO, FACE_FRAMES)
    }
    policy, settings = settings_row(POLICY.model_dump_json())
    decided = decide_clips(*generated.values(), POLICY).with_columns(policy=pl.lit(POLICY.name), policy_sha256=pl.lit(policy))
    order = generated[FACE_CLIPS]["clip_id"].to_frame().with_row_index("number")
    shard = pl.format("shard-{}", (pl.col("number") // CLIPS_PER_SHARD).cast(pl.String).str.zfill(5))
    shards = order.select("clip_id", shard=shard)
    lake = open_lake(Settings(home=home, store_uri=str(home / "store")))
    lake.put({POLICY_SETTINGS.name: settings})
    tables = {CLIPS: generated.pop(PICTURE_MEASURES), POSE_FILTERED_CLIPS: decided, **generated}
    parts = {table.name: _whole(table, rows, shards).partition_by("shard", as_dict=True) for table, rows in tables.items()}
    for (name,) in parts[CLIPS.name]:
        lake.put({table: rows[name,] for table, rows in parts.items()}, name, "generated")
    lake.close()
    return folder


def _whole(table: TableSchema, rows: pl.DataFrame, shards: pl.DataFrame) -> pl.DataFrame:
    """Every column of the table, NULL where nothing was generated and something stands where there may be none."""
    generated = rows.drop("shard", strict=False).join(shards, on="clip_id")
    known = {"engine": "none", "engine_version": "none", "engine_licence": "none", "engine_reason": "none", "tier": "survey"}
    return generated.select(
        (pl.col(name) if name in generated.columns else _nothing(name, dtype, name in table.nullable, known))
        .cast(dtype)
        .alias(name)
        for name, dtype in table.dtypes.items()
    )


def _nothing(name: str, dtype: Any, may_be_null: bool, known: Mapping[str, str]) -> pl.Expr:
    if may_be_null:
        return pl.lit(None)
    if dtype == pl.Boolean:
        return pl.lit(False)
    if dtype == pl.String:
        return pl.lit(known.get(name, "x"))
    return pl.lit([], dtype) if isinstance(dtype, pl.List) else pl.lit(0)


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
