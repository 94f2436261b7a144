"""`lafid funnel`: the funnel as it stands in the published DuckDB file. Needs no Dagster."""

from typing import Any

from resources.shard_store import ShardStore
from resources.warehouse import Warehouse, WarehouseUnusable

from lafid_assets.contract import comments
from lafid_assets.dataset.funnel import as_object, clip_outcomes, count_outcomes
from lafid_assets.schemas import LAFID_DATASET, OUTCOME_TABLES, RAW_CLIPS, TABLES
from resources.settings import Settings


def read_funnel(settings: Settings) -> dict[str, Any]:
    """The funnel as one object; `dataset_version` is None while there is no dataset.

    Raises:
        WarehouseUnusable: nothing has been curated yet.
    """
    warehouse = Warehouse(settings.warehouse_path, ShardStore(settings.store_uri), comments(TABLES))
    with warehouse.read() as connection:
        there = {name for (name,) in connection.execute("SELECT table_name FROM information_schema.tables").fetchall()}
        if RAW_CLIPS.name not in there:
            raise WarehouseUnusable(f"{warehouse.path} holds no clips: run `make demo` or `lafid curate DIR` first")
        tables = {
            name: connection.sql(f"SELECT clip_id, status, reason FROM {name}").pl() for name in OUTCOME_TABLES if name in there
        }
        versions = (
            connection.execute(f"SELECT DISTINCT dataset_version FROM {LAFID_DATASET.name}").fetchall()
            if LAFID_DATASET.name in there
            else []
        )
    counts = as_object(count_outcomes(clip_outcomes(tables), dataset_version=""))
    return counts | {"dataset_version": versions[0][0] if versions else None}
