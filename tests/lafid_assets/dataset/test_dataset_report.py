"""`dataset_report`: table, page and pictures."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from lafid_assets.dataset import dataset_report as module
from lafid_assets.dataset.dataset_report import _notes, dataset_report
from lafid_assets.dataset.lafid_dataset import Dataset
from lafid_assets.dataset.published import NotPublished
from lafid_assets.schemas import SIMILARITY_BY_POSE_GAP
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore, StoreUnusable

PICTURES = ("contact_sheet", "expression", "funnel", "identities", "pose", "references", "similarity", "speech")
FILES = sorted([*(f"{name}.png" for name in PICTURES), "report.html"])


@pytest.fixture
def report(
    settings: Settings,
    lake: Lake,
    store: FileStore,
    curated: Callable[..., dict[str, pl.DataFrame]],
    keep: Callable[[dict[str, pl.DataFrame]], Dataset],
    row_of: Callable[..., dict[str, Any]],
    tmp_path: Path,
    write_video: Callable[..., Path],
) -> Callable[..., dict[str, Any]]:
    """Materializes the report over clips as {clip: person}; gives its metadata."""
    instance = dg.DagsterInstance.ephemeral()
    kept: list[dict[str, str | None]] = []

    def run(persons: dict[str, str | None]) -> dict[str, Any]:
        for clip in persons:
            if not (tmp_path / clip).exists():
                write_video(tmp_path / clip, seconds=0.5)
        if persons not in kept:
            curve = SIMILARITY_BY_POSE_GAP.frame([row_of(SIMILARITY_BY_POSE_GAP, shard="shard-00000", gap_to_deg=5.0)])
            keep(curated(persons, str(tmp_path)) | {SIMILARITY_BY_POSE_GAP.name: curve})
            kept.append(persons)
        resources = {"lake": lake, "store": store, "settings": settings}
        result = dg.materialize([dataset_report], instance=instance, resources=resources)
        [event] = result.get_asset_materialization_events()
        return {name: value.value for name, value in event.materialization.metadata.items()}

    return run


def _page(store: FileStore, version: str) -> str:
    return store.read_bytes(f"reports/{version}/report.html").decode()


def test_report_is_table_page_and_pictures(report: Callable[..., Any], lake: Lake, store: FileStore, settings: Settings) -> None:
    """And with it the tables are published, and the catalog is copied."""
    metadata = report({"a": "p", "b": "q", "c": "r", "d": None})
    version = metadata["dataset_version"]
    assert store.list_files(f"reports/{version}") == FILES
    assert lake.read("dataset_report").select("status", "reason", "clips").rows() == [("kept", "", 3), ("rejected", "no_face", 1)]
    assert (metadata["clips_in"], metadata["clips_kept"]) == (4, 3)
    assert metadata["report"].endswith(f"reports/{version}/report.html")
    pictures = ["contact_sheet", "funnel", "identities", "pose", "similarity", "speech"]
    assert sum(len(metadata[name]) for name in pictures) < 201_000, "Dagster keeps them in its database"
    picture = re.compile(r"!\[[\w ,:]+\]\(data:image/(png|jpeg);base64,[\w+/=]+\)")
    assert all(picture.fullmatch(metadata[name].replace("'", "")) for name in PICTURES), "no text of strangers is markdown"
    page = _page(store, version)
    assert "face_height_share at least 0.18" in page
    assert page.count("data:image/png;base64,") == len(PICTURES) - 1, "the strips stand one by one in the page"
    assert "There is no" not in _page(store, version)
    assert metadata["published"] == str(settings.published_path)
    with duckdb.connect(str(settings.published_path), read_only=True) as connection:
        assert connection.execute("SELECT DISTINCT dataset_version FROM dataset_report").fetchall() == [(version,)]
    assert metadata["catalog_copy"] == store.full_path("catalog/catalog.duckdb")
    assert store.exists("catalog/catalog.duckdb")


def test_windows_and_what_cannot_be_decoded_are_noted() -> None:
    split = ["train", "validation", "test"]
    dataset = pl.DataFrame({"split": split, "identity_id": ["p", "q", "r"], "window_start_s": [None, 1.0, 0.0]})
    shots = {"recordings": 1, "shots": 3, "kept": 2, "too_short": 1, "broken": 1}
    of_film, of_windows = _notes(dataset, shots)
    assert of_film.endswith("2 are kept and 1 were too short to be looked at. 1 parts cannot be decoded (error: decode_failed).")
    assert of_windows.startswith("2 of 3 kept clips are longer than a window")
    assert _notes(dataset.with_columns(window_start_s=pl.lit(None, pl.Float64)), dict.fromkeys(shots, 0)) == []


@pytest.mark.usefixtures("quick_charts")
def test_second_run_draws_nothing_and_lost_files_are_drawn_again(report: Callable[..., Any], store: FileStore) -> None:
    persons = {"a": "p", "b": "q"}
    version = report(persons)["dataset_version"]
    assert "There is no validation split: 2 persons are too few to keep them apart." in _page(store, version)
    assert report(persons)["computed"] is False
    for name in (FILES[0], FILES[-1]):
        store.local_path(f"reports/{version}/{name}").unlink()
        assert report(persons)["computed"] is True
        assert store.list_files(f"reports/{version}") == FILES


@pytest.mark.usefixtures("quick_charts")
def test_nothing_kept_is_a_report_too(report: Callable[..., Any], lake: Lake, store: FileStore) -> None:
    assert report({"a": None})["dataset_version"] == "empty"
    assert "0 are kept" in _page(store, "empty")
    assert lake.read("dataset_report").select("status", "reason", "clips").rows() == [("rejected", "no_face", 1)]


@pytest.mark.usefixtures("quick_charts")
def test_report_stands_where_publishing_and_copying_fail(
    report: Callable[..., Any], store: FileStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(with_: Exception) -> Callable[..., None]:
        def failing(*_: Any) -> None:
            raise with_

        return failing

    full = "(No space left on device): free some space"
    monkeypatch.setattr(module, "publish", fail(NotPublished(f"cannot write lafid.duckdb {full}")))
    monkeypatch.setattr(module.catalog_copy, "copy", fail(StoreUnusable(f"cannot write catalog.duckdb {full}")))
    with caplog.at_level(logging.ERROR, "lafid.dataset"):
        metadata = report({"a": "p", "b": "p"})
    assert metadata["published"].startswith("cannot write lafid.duckdb (No space left")
    assert metadata["catalog_copy"].startswith("cannot write catalog.duckdb")
    assert "cannot write lafid.duckdb" in caplog.text
    assert "the catalog is not copied" in caplog.text
    page = _page(store, metadata["dataset_version"])
    assert "There is no validation and no test split: 1 persons are too few" in page
