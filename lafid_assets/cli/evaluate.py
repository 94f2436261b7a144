"""`lafid evaluate`: a model on a bench, alone or against another, in any folder. Needs no Dagster and no lake.

Belongs here: finding models and bench, the folder that is written, what the screen shows. Not here: measuring
(`release.evaluation`), the page (`release.evaluation_page`).
"""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich.table import Table

from lafid_assets.cli.display import CONSOLE, working
from lafid_assets.cli.options import ModelOptions
from lafid_assets.lake import open_lake
from lafid_assets.release.bench_folder import current_bench, folder_of
from lafid_assets.release.comparison import BINNED, OVERALL, compare
from lafid_assets.release.evaluation import choose_cases, evaluate
from lafid_assets.release.evaluation_page import Evaluated, write_page
from lafid_assets.release.evaluation_tasks import Subject
from lafid_assets.release.model_files import ModelFiles, find_model
from lafid_assets.schemas import EVALUATED_FRAMES, EVALUATED_VIDEOS, MODEL_EVALUATION
from lafid_assets.training.base import adopted_in
from model.evaluation.bench import BenchError, verify_bench
from model.files import whole_file
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.tracking import Tracking

PAGE = "index.html"


@dataclass(frozen=True)
class Wish:
    """What is to be evaluated, and how.

    Attributes:
        against: the model that it is compared with; None: nobody.
        bench: the bench's folder; None: the one of the home's store.
        out: where all of it is written.
        cases: of the bench that are drawn; None: all.
    """

    model: str
    against: str | None
    bench: Path | None
    out: Path
    steps: int
    cases: int | None
    processes: int | None
    deadline_s: float


def run_evaluate(how: ModelOptions, wish: Wish) -> None:
    """Draw, measure, compare; tables as Parquet and the page into the folder. An interrupted run goes on with the next video."""
    if wish.out.exists() and not wish.out.is_dir():
        raise NotADirectoryError(f"{wish.out} is no folder: name another one with --out")
    bench_dir = wish.bench or _bench_of(how.settings)
    bench = verify_bench(bench_dir)
    with working("looking for the models"):
        models = _models(how, wish)
    tables: list[Mapping[str, pl.DataFrame]] = []
    for found in models:
        subject = Subject(
            found.checkpoint_sha256,
            checkpoint_dir=found.checkpoint_dir.resolve(),
            base_dir=found.base_dir.resolve(),
            root=wish.out.resolve(),
            bench_dir=bench_dir.resolve(),
            clip_list=None,
            drawing=how.drawing,
            steps=wish.steps,
        )
        cases = choose_cases(bench, wish.cases)
        with working(f"evaluating {found.name} on {len(cases)} cases of {bench.name} {bench.version}"):
            tables.append(evaluate(subject, bench, cases, {}, wish.deadline_s, wish.processes))
    whole = {
        name: pl.concat([each[name] for each in tables])
        for name in (MODEL_EVALUATION.name, EVALUATED_VIDEOS.name, EVALUATED_FRAMES.name)
    }
    for name, table in whole.items():
        with whole_file(wish.out / f"{name}.parquet") as temporary:
            table.write_parquet(temporary)
    shas = {found.name: found.checkpoint_sha256 for found in models}
    with working("writing the page"):
        write_page(wish.out / PAGE, Evaluated(wish.out, bench, bench_dir, shas, whole))
    _show(shas, whole)
    CONSOLE.print(f"page: {wish.out / PAGE}; tables and videos beside it")


def _bench_of(settings: Settings) -> Path:
    current = None
    with closing(open_lake(settings, read_only=True)) as lake:
        if lake.is_there():
            with lake.snapshot() as reader:
                current = current_bench(reader)
    if current is None:
        raise BenchError(f"there is no bench in {lake.store.uri}: name one with --bench, or make one with `lafid bench`")
    return lake.store.fetch(folder_of(current))


def _models(how: ModelOptions, wish: Wish) -> list[ModelFiles]:
    """The files of the model, and of the one that it is compared with."""
    settings = how.settings
    tracking = Tracking(settings.mlflow_uri, settings.mlflow_artifacts)
    adopted = adopted_in(FileStore(settings.store_uri, settings.home))
    asked = [model for model in (wish.model, wish.against) if model is not None]
    models = [find_model(model, tracking, settings.downloads, base_dir=how.base_dir, adopted=adopted) for model in asked]
    if len({found.checkpoint_sha256 for found in models}) < len(models):
        raise ValueError(f"{wish.model} and {wish.against} are the same checkpoint: name another with --against")
    return models


def _show(models: Mapping[str, str], tables: Mapping[str, pl.DataFrame]) -> None:
    measures = tables[MODEL_EVALUATION.name]
    shown = Table()
    for head in ("measure", *models):
        shown.add_column(head)
    for metric in (OVERALL, *BINNED, "likeness", "faces_found_share", "first_frame_psnr_db"):
        cells = []
        for checkpoint in models.values():
            row = measures.row(
                by_predicate=(pl.col("checkpoint_sha256") == checkpoint) & (pl.col("metric") == metric), named=True
            )
            bounds = "" if row["low"] is None else f" ({row['low']:.3f} to {row['high']:.3f})"
            cells.append(f"{row['value']:.3f}{bounds}, {row['videos']} videos" if row["value"] is not None else row["absent"])
        shown.add_row(metric, *cells)
    CONSOLE.print(shown)
    if len(models) < 2:
        return
    ours, theirs = models.values()
    for one in compare(tables[EVALUATED_VIDEOS.name], tables[EVALUATED_FRAMES.name], ours, theirs):
        CONSOLE.print(f"{one.metric}: {one.told}, {one.verdict}")
