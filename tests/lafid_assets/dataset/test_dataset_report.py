"""`dataset_report`: table, page and pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.dataset.dataset_report import dataset_report
from lafid_assets.dataset.lafid_dataset import assemble
from lafid_assets.definitions import build_resources
from lafid_assets.schemas import LAFID_DATASET, SIMILARITY_BY_POSE_GAP
from resources.settings import Settings
from resources.shard_store import ShardStore

FILES = ["contact_sheet.png", "funnel.png", "identities.png", "pose.png", "report.html", "similarity.png", "speech.png"]


@pytest.fixture
def report(
    settings: Settings,
    store: ShardStore,
    curated: Callable[..., Any],
    row_of: Callable[..., dict[str, Any]],
    tmp_path: Path,
    write_video: Callable[..., Path],
) -> Callable[..., dict[str, Any]]:
    """Materializes the report over clips as {clip: person}; gives its metadata."""
    instance = dg.DagsterInstance.ephemeral()

    def run(persons: dict[str, str | None]) -> dict[str, Any]:
        for clip in persons:
            if not (tmp_path / clip).exists():
                write_video(tmp_path / clip, seconds=0.5)
        tables = curated(persons, str(tmp_path))
        store.write_group({"lafid_dataset": LAFID_DATASET.frame(assemble(tables))}, "all", "f")
        curve = SIMILARITY_BY_POSE_GAP.frame([row_of(SIMILARITY_BY_POSE_GAP, gap_from_deg=0.0, gap_to_deg=5.0)])
        for name, frame in {**tables, SIMILARITY_BY_POSE_GAP.name: curve}.items():
            store.write_group({name: frame}, "all" if name == "identity_clusters" else "shard-00000", "f")
        result = dg.materialize([dataset_report], instance=instance, resources=build_resources(settings))
        [event] = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    return run


def _page(store: ShardStore, version: str) -> str:
    return store.read_bytes(f"reports/{version}/report.html").decode()


def test_report_is_table_page_and_pictures(report: Callable[..., Any], store: ShardStore) -> None:
    metadata = report({"a": "p", "b": "q", "c": "r", "d": None})
    version = metadata["dataset_version"]
    assert store.list_files(f"reports/{version}") == FILES
    assert store.read_table("dataset_report").select("status", "reason", "clips").rows() == [
        ("kept", "", 3),
        ("rejected", "no_face", 1),
    ]
    assert (metadata["clips_in"], metadata["clips_kept"]) == (4, 3)
    assert metadata["report"].endswith(f"reports/{version}/report.html")
    pictures = ["contact_sheet", "funnel", "identities", "pose", "similarity", "speech"]
    assert sum(len(metadata[name]) for name in pictures) < 201_000, "Dagster keeps them in its database"
    page = _page(store, version)
    assert "face_height_share at least 0.18" in page
    assert page.count("data:image/png;base64,") == 6
    assert "There is no" not in _page(store, version)


def test_second_run_draws_nothing_and_lost_files_are_drawn_again(report: Callable[..., Any], store: ShardStore) -> None:
    persons = {"a": "p", "b": "q", "c": "r"}
    version = report(persons)["dataset_version"]
    assert report(persons)["computed"] is False
    for name in FILES:
        store.local_path(f"reports/{version}/{name}").unlink()
        assert report(persons)["computed"] is True
        assert store.list_files(f"reports/{version}") == FILES


@pytest.mark.parametrize(
    ("persons", "note"),
    [
        ({"a": "p", "b": "q"}, "There is no validation split: 2 persons are too few to keep them apart."),
        ({"a": "p", "b": "p"}, "There is no validation and no test split: 1 persons are too few"),
    ],
)
def test_missing_split_is_said(report: Callable[..., Any], store: ShardStore, persons: dict[str, str], note: str) -> None:
    assert note in _page(store, report(persons)["dataset_version"])


def test_nothing_kept_is_a_report_too(report: Callable[..., Any], store: ShardStore) -> None:
    assert report({"a": None})["dataset_version"] == "empty"
    assert "0 are kept" in _page(store, "empty")
    assert isinstance(store.read_table("dataset_report"), pl.DataFrame)
