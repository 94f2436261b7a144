"""`lafid funnel`: the funnel as it stands in the lake. Needs no Dagster."""

from typing import Any

from lafid_assets.dataset.funnel import as_object, count_outcomes
from lafid_assets.dataset.report_data import shots_of_recordings, unjudged_rules
from lafid_assets.lake import open_lake
from lafid_assets.schemas import LAFID_DATASET
from resources.lake.reader import TableMissing
from resources.settings import Settings


def read_funnel(settings: Settings) -> dict[str, Any]:
    """The funnel as one object, with `recordings`, `shots` and `unjudged`; `dataset_version` is None without a dataset."""
    with open_lake(settings, read_only=True).snapshot() as reader:
        counts, unjudged, shots = count_outcomes(reader), unjudged_rules(reader), shots_of_recordings(reader)
        versions = reader.sql(f"SELECT DISTINCT dataset_version FROM {LAFID_DATASET.name}")["dataset_version"]
    if counts.is_empty():
        raise TableMissing(f"{settings.store_uri} holds no clips: run `make demo` or `lafid curate DIR` first")
    told = {"recordings": shots["recordings"], "shots": shots["shots"], "unjudged": unjudged}
    return as_object(counts, versions[0] if len(versions) else None) | told
