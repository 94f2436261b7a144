"""What fell through without a run that fails: unfinished shards, files that are gone, a registry that differs from the tables.

Belongs here: finding it, a sentence each with the remedy. Not here: what the tables hold, which the assets' own checks judge.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import polars as pl

from lafid_assets.dataset import dataset_report
from lafid_assets.dataset.crops import FOLDER as CROPS_FOLDER
from lafid_assets.jobs import PER_SHARD
from lafid_assets.lafid_toml.settings_check import Ops
from lafid_assets.release.promotion import known_models
from lafid_assets.schemas import CLIP_FILES, DATASET_REPORT, FUSION_DIT, REFERENCE_CROPS, REGISTERED_MODEL, TRAINING_LATENTS
from lafid_assets.steps.curation_steps import configured
from lafid_assets.steps.staleness import stale_shards, unfinished_shards
from lafid_assets.training.encoding import SHARDS_FOLDER
from model.wording import first_few
from resources.lake.catalog_losses import missing_files
from resources.lake.duckdb_extensions import quoted
from resources.lake.lake import Lake
from resources.lake.tables import PARTITIONS
from resources.tracking import Tracking, TrackingUnreachable

PATIENCE = timedelta(days=1)
"""How old a shard's files must be to be complained of."""


def require_none(faults: Sequence[str]) -> None:
    """
    Raises:
        ValueError: there are faults.
    """
    if faults:
        raise ValueError((f"{len(faults)} faults: " if len(faults) > 1 else "") + "; ".join(faults))


def find_faults(lake: Lake, tracking: Tracking, told: Ops) -> list[str]:
    """A sentence a fault; none in a store that nothing was written to. `told`: what `lafid.toml` tells the assets."""
    if not lake.is_there():
        return []
    if gone := missing_files(lake):
        listed = first_few(f"{table} ({count})" for table, count in sorted(gone.items()))
        # Rows of these tables cannot be read.
        return [
            f"{sum(gone.values())} files of tables are gone from the store, of {listed}: bring them back from a copy of the store"
        ]
    return [*_unfinished(lake, told), *_lost_files(lake), *_registry(lake, tracking)]


def _unfinished(lake: Lake, told: Ops) -> Iterator[str]:
    """While somebody curates it is not known which shards are still to come."""
    if any(name.partition("/")[0] in PER_SHARD for name in lake.leases.names_held()):
        return
    steps = configured(PER_SHARD, told)
    before = (datetime.now(UTC) - PATIENCE).isoformat()
    old = f"SELECT partition FROM {PARTITIONS} WHERE table_name = {quoted(CLIP_FILES.name)} AND written_at < ?::TIMESTAMPTZ"
    with lake.snapshot() as reader:
        stale = stale_shards(reader, steps, sorted(reader.sql(f"{old} AND fingerprint IS NOT NULL", [before])["partition"]))
        found = unfinished_shards(reader, steps, stale)
    if found:
        named = first_few(f"{shard} from {stale[shard]} on" for shard in sorted(found))
        yield f"{len(found)} shards came more than a day ago and are not finished, {named}: read their runs and materialize them"


def _lost_files(lake: Lake) -> Iterator[str]:
    """Files that rows name and the store lacks."""
    crops, latents, checkpoints, pages = _crops(lake), _latents(lake), _checkpoints(lake), _pages(lake)
    asked: dict[str, tuple[pl.Series, Callable[[], Iterable[str]]]] = {
        REFERENCE_CROPS.name: (crops, lambda: lake.store.list_tree(CROPS_FOLDER)),
        TRAINING_LATENTS.name: (latents, lambda: _below_latents(lake)),
        FUSION_DIT.name: (checkpoints, lambda: filter(lake.store.exists, checkpoints)),
        DATASET_REPORT.name: (pages, lambda: filter(lake.store.exists, pages)),
    }
    for asset, (named, there) in asked.items():
        lost = named.filter(~named.is_in(pl.Series(list(there()), dtype=pl.String).implode())) if len(named) else named
        if len(lost):
            yield (
                f"{len(lost)} of {len(named)} files that {asset} names are gone from the store, {first_few(lost.sort())}: "
                f"materialize {asset} again"
            )


def _crops(lake: Lake) -> pl.Series:
    paths = f"SELECT unnest([face_path, head_path]) AS path FROM {REFERENCE_CROPS.name}"
    return lake.sql(f"SELECT DISTINCT path FROM ({paths}) WHERE path IS NOT NULL")["path"]


def _latents(lake: Lake) -> pl.Series:
    parts = f"SELECT unnest(parts) AS part FROM {TRAINING_LATENTS.name}"
    return lake.sql(f"SELECT DISTINCT part.shard AS path FROM ({parts})")["path"]


def _below_latents(lake: Lake) -> Iterable[str]:
    return (path.removeprefix(f"{SHARDS_FOLDER}/") for path in lake.store.list_tree(SHARDS_FOLDER))


def _checkpoints(lake: Lake) -> pl.Series:
    return lake.sql(f"SELECT checkpoint_path || '/lafid.json' AS path FROM {FUSION_DIT.name}")["path"]


def _pages(lake: Lake) -> pl.Series:
    versions = lake.sql(f"SELECT DISTINCT dataset_version FROM {DATASET_REPORT.name}")["dataset_version"]
    return pl.Series([dataset_report.report_path(version, dataset_report.PAGE) for version in versions], dtype=pl.String)


def _registry(lake: Lake, tracking: Tracking) -> Iterator[str]:
    models = known_models(lake)
    if not models:
        return
    try:
        yield from _lost_versions(lake, tracking)
        for name in models:
            yield from _empty_versions(tracking, name)
    except TrackingUnreachable as error:
        yield str(error)


def _lost_versions(lake: Lake, tracking: Tracking) -> Iterator[str]:
    rows = lake.sql(f"SELECT model_name, model_uri, checkpoint_sha256 FROM {REGISTERED_MODEL.name}")
    for name, address, checkpoint in rows.iter_rows():
        if tracking.find_version(name, checkpoint) is None:
            yield f"{address} of registered_model is not in the registry at {tracking.uri}: materialize registered_model again"


def _empty_versions(tracking: Tracking, name: str) -> Iterator[str]:
    """Versions that an alias names, and that nobody can pull."""
    model = tracking.registered_model(name)
    for alias, version in sorted({} if model is None else dict(model.aliases).items(), key=lambda pair: pair[0]):
        if not _has_files(tracking, f"models:/{name}/{version}"):
            yield f"models:/{name}/{version} ({alias}) has no files in the registry: register it again, or move the alias"


def _has_files(tracking: Tracking, address: str) -> bool:
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    tracking.connect()
    try:
        return bool(list_artifacts(address))
    except (MlflowException, OSError):
        return False
