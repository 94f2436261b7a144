"""`lafid bench`: LaFID-Bench of the test split, through Dagster, and as a folder for another machine.

Belongs here: what the screen shows. Not here: making it (`release.lafid_bench`).
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from lafid_assets.cli.display import CONSOLE
from lafid_assets.cli.materialize import open_materializer
from lafid_assets.lafid_toml.settings_check import ops_of
from lafid_assets.outcomes import Status
from lafid_assets.release.bench_folder import copy_bench, current_bench, folder_of, stored_bench
from lafid_assets.release.lafid_bench import NOBODY_TO_TEST
from lafid_assets.schemas import LAFID_BENCH, LAFID_DATASET
from model.evaluation.bench import Bench, BenchError
from resources.settings import Settings

STRATA = ("yaw_bin", "expression_bin", "speaking_status", "begins")


def run_bench(settings: Settings, named: dict[str, Any], out: Path | None) -> None:
    """Make it where it is not current, show it, and copy it to `out`.

    Args:
        named: lines of the asset's config; what is not named is as in `lafid.toml`.
    """
    if out is not None and out.exists():
        raise BenchError(f"{out} is there already: name a folder that is not")
    materializer = open_materializer(settings)
    if not materializer.lake.stamps([LAFID_DATASET.name]):
        raise LookupError("there is no dataset to make a bench of: run `lafid curate DIR` first")
    ops = {LAFID_BENCH.name: {"config": named}}
    ops_of(materializer.file, ops)  # a wrong line is refused before anything runs
    materializer.run([LAFID_BENCH.name], "making the bench", ops=ops)
    lake = materializer.lake
    with lake.snapshot() as reader:
        rows, found = reader.read(LAFID_BENCH.name), current_bench(reader)
    for row in rows.filter(pl.col("status") != Status.OK).iter_rows(named=True):
        told = f"left out {row['clip_id']} ({row['reason']}): {row['detail']}"
        CONSOLE.print(told, style="yellow")
    if found is None:
        raise LookupError("no clip of the test split gives a case: see above" if rows.height else NOBODY_TO_TEST)
    bench = stored_bench(lake.store, found)
    for table in _tables(bench):
        CONSOLE.print(table)
    licences = [f"{name}: {licence}" for name, licence in bench.licences.items()]
    lines = {
        "bench": f"{bench.name}, version {bench.version}, of dataset version {bench.dataset_version}",
        "holds": f"{len(bench.cases)} cases, {len(bench.persons)} persons, {len(bench.strangers)} strangers beside them",
        "engine": bench.engine.name,
        "licences": "; ".join(licences),
        "folder": f"{lake.store.uri}/{folder_of(found)}",
    }
    if out is not None:
        copy_bench(lake.store, found, out)
        lines["copied to"] = str(out)
    for name, value in lines.items():
        CONSOLE.print(f"{name + ':':10} {value}")


def _tables(bench: Bench) -> Iterator[Table]:
    cases = Table("stratum", "cases")
    for name in STRATA:
        for value, count in sorted(Counter(str(getattr(case, name)) for case in bench.cases).items()):
            cases.add_row(f"{name} {value}", str(count))
    yield cases
    bounds = Table("bin", "strangers", "pairs", "same person", "pairs")
    for name, found in bench.bounds.items():
        floor, ceiling = ("-" if value is None else f"{value:.3f}" for value in (found.stranger_floor, found.same_person_ceiling))
        bounds.add_row(name, floor, str(found.stranger_pairs), ceiling, str(found.same_person_pairs))
    yield bounds
