"""`lafid_bench`: LaFID-Bench, made of the persons that no model is trained on.

Belongs here: the asset. Not here: making it (`bench_building`), where it lies (`bench_folder`), measuring models on it
(`model_evaluation`).
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from lafid_assets.ingest.locate import locate
from lafid_assets.release.bench_building import build_bench
from lafid_assets.release.bench_choice import FACE_COLUMNS, stranger_names
from lafid_assets.release.bench_folder import is_whole, put_bench, stored_bench
from lafid_assets.release.bench_looks import engine_choice
from lafid_assets.schemas import FACE_INFO, LAFID_BENCH, LAFID_DATASET
from lafid_assets.steps.step import Step
from lafid_assets.steps.step_run import Work
from lafid_assets.workers.exit_reasons import TRIED_AGAIN
from model.encoding.footage import Footage
from resources.face_engine import face_engine_info, gpu_feeders
from resources.lake.lake import Lake
from resources.store.file_store import FileStore

LOGGER = logging.getLogger("lafid.release")
NOBODY_TO_TEST = "the dataset has no test split: it takes clips of two persons at least, so that one of them is never trained on"

NOT_READ = ("identity_embedding", "cross_references")
"""Columns of `lafid_dataset`; the gallery has embeddings of its own."""

STEP = Step(
    writes=(LAFID_BENCH,),
    reads=(LAFID_DATASET.name, FACE_INFO.name),
    group="release",
    code_version="1",
    kinds=frozenset({"polars"}),
)


class LafidBenchConfig(dg.Config):
    """What is asked of it. Another number, seed or name is another bench."""

    cases: int = Field(32, ge=1, description="Videos to draw at most: persons take turns, then poses, expressions and speech")
    seed: int = Field(0, ge=0, description="Of the choice among equals, and of the noise that every model draws from")
    name: str = Field("lafid-bench", min_length=1, description="What the bench is called")


@STEP.as_asset(deps=["lafid_dataset"])
def lafid_bench(
    context: dg.AssetExecutionContext, config: LafidBenchConfig, lake: dg.ResourceParam[Lake], store: dg.ResourceParam[FileStore]
) -> dg.MaterializeResult:
    """What every model is asked to draw: first frames, galleries, prompts and target poses of persons in the test split.

    Evaluation and the release gate need it, so that two models are compared on the same tasks.
    """
    work = Work(
        lambda _: {LAFID_BENCH.name: _make(config, lake, store)},
        settled=lambda _, frames: _is_there(frames[LAFID_BENCH.name], store),
        metadata=lambda _, frames: _describe(frames[LAFID_BENCH.name], store),
    )
    return STEP.materialize(context, config, lake, work)


def _make(config: LafidBenchConfig, lake: Lake, store: FileStore) -> pl.DataFrame:
    with lake.snapshot(all_cores=True) as reader:
        columns = ", ".join(f'"{name}"' for name in LAFID_DATASET.dtypes if name not in NOT_READ)
        test = reader.sql(f"SELECT {columns} FROM {LAFID_DATASET.name} WHERE split = 'test'")
        tested = f"SELECT clip_id FROM {LAFID_DATASET.name} WHERE split = 'test'"
        faces = reader.sql(f"SELECT {', '.join(FACE_COLUMNS)} FROM {FACE_INFO.name} WHERE clip_id IN ({tested})")
        untested = f"FROM {LAFID_DATASET.name} WHERE split <> 'test'"
        known = reader.sql(f"SELECT DISTINCT identity_id, split {untested}")
        strangers = stranger_names(known, test["identity_id"].n_unique(), config.cases)
        others = reader.sql(f"SELECT {columns} {untested} AND identity_id IN (SELECT unnest(?))", [strangers])
    engines = Counter(test["engine"])
    if not engines:
        LOGGER.warning("no bench: %s", NOBODY_TO_TEST)
        return LAFID_BENCH.frame([])
    choice = engine_choice(min(engines, key=lambda name: (-engines[name], name)))

    def find(clips: Sequence[Mapping[str, Any]]) -> dict[str, Footage]:
        by_shard: dict[str, list[str]] = {}
        for clip in clips:
            by_shard.setdefault(clip["shard"], []).append(clip["clip_id"])
        return {clip: place for shard, those in by_shard.items() for clip, place in locate(lake, shard, those).items()}

    built = build_bench(
        test,
        others,
        faces,
        find,
        store,
        face_engine_info(choice),
        name=config.name,
        most=config.cases,
        seed=config.seed,
        feeders=gpu_feeders(choice),
    )
    if built.bench is not None:
        put_bench(store, built.bench, built.pictures)
    return built.rows


def _is_there(rows: pl.DataFrame, store: FileStore) -> bool:
    """Whether its folder is whole; a clip that another try may read counts as missing."""
    versions = rows["bench_version"].drop_nulls().unique()
    return not rows["reason"].is_in(TRIED_AGAIN).any() and all(is_whole(store, version) for version in versions)


def _describe(rows: pl.DataFrame, store: FileStore) -> dict[str, Any]:
    if rows["bench_version"].drop_nulls().is_empty():
        return {"bench": "none", "why_none": "no clip of the test split gave a case" if rows.height else NOBODY_TO_TEST}
    bench = stored_bench(store, rows["bench_version"].drop_nulls()[0])
    bounds = [
        dg.TableRecord({"bin": name, **{key: "" if value is None else value for key, value in found.model_dump().items()}})
        for name, found in bench.bounds.items()
    ]
    strata = {
        f"cases_{name}": dg.MetadataValue.json(dict(sorted(Counter(getattr(case, name) for case in bench.cases).items())))
        for name in ("yaw_bin", "expression_bin", "speaking_status", "begins")
    }
    return {
        "bench": f"{bench.name} {bench.version}",
        "folder": f"{store.uri}/{rows['bench_path'].drop_nulls()[0]}",
        "cases": len(bench.cases),
        "persons": len(bench.persons),
        "strangers": len(bench.strangers),
        "engine": bench.engine.name,
        "dataset_version": rows["dataset_version"][0],
        "bounds": dg.MetadataValue.table(bounds),
        **strata,
    }
