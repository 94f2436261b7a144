"""Secrets that are planted in the environment appear nowhere: on no screen, in no run, no log and no file of the home."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from lafid_assets.ingest.raw_clips import raw_clips
from lafid_assets.lake import open_lake
from lafid_assets.steps.partitions import CLIP_SHARDS
from resources.settings import Settings
from resources.store.file_store import FileStore

PLANTED = "planted"
PASSWORD = "planted%40pass"
ENVIRONMENT = {
    "LAFID_CATALOG": f"postgresql://lafid:{PASSWORD}@127.0.0.1:1/lafid",
    "MLFLOW_TRACKING_URI": f"http://lafid:{PASSWORD}@127.0.0.1:1",
    "MLFLOW_TRACKING_TOKEN": "planted-token",
    "MLFLOW_TRACKING_PASSWORD": "planted-password",
    "AWS_ACCESS_KEY_ID": "planted-key-id",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-key",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "OPENAI_API_KEY": "planted-key",
}


@pytest.fixture
def planted(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Plants them; called with what was said it looks at that and at every file of the home."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    home.mkdir()

    def look(said: str) -> None:
        assert PLANTED not in said
        assert [path for path in home.rglob("*") if path.is_file() and PLANTED.encode() in path.read_bytes()] == []

    return look


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("status",), "127.0.0.1"),
        (("funnel",), "postgresql://lafid:***@127.0.0.1:1/lafid"),
        (("lineage", "models:/lafid@champion"), "MLFLOW_TRACKING_URI is http://lafid:***@127.0.0.1:1: take the password out"),
        (("forget", "--clip", "a"), "postgresql://lafid:***@127.0.0.1:1/lafid"),
        (("curate", "FOLDER"), "postgresql://lafid:***@127.0.0.1:1/lafid"),
        (("curate", "FOLDER", "--caption-llm", f"http://u:{PASSWORD}@127.0.0.1:1/v1,m"), "http://u:***@127.0.0.1:1/v1: base_url"),
        (("ui",), "take the password out"),
    ],
)
def test_a_server_that_is_away_is_told_without_its_password(
    lafid: Any, planted: Callable[[str], None], bad_files: Path, command: tuple[str, ...], message: str
) -> None:
    ended = lafid(*[str(bad_files) if word == "FOLDER" else word for word in command])
    assert message in ended.error
    planted(ended.out + ended.err)


@pytest.mark.parametrize("store", [None, "s3://bucket/lafid"])
def test_a_run_that_cannot_reach_catalog_or_store_keeps_no_secret(
    home: Path,
    planted: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    store: str | None,
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("LAFID_HOME", str(home))
    monkeypatch.setenv("LAFID_STORE", store or str(home / "store"))
    settings = Settings.from_environment()
    settings.prepare()
    with dg.DagsterInstance.get() as instance:
        # The installation's instance would ask the catalog, which is away.
        dg.DagsterInstance.add_dynamic_partitions(instance, str(CLIP_SHARDS.name), ["shard-00000"])
        resources = {"lake": open_lake(settings), "store": FileStore(settings.store_uri), "settings": settings}
        run = dg.materialize(
            [raw_clips], instance=instance, partition_key="shard-00000", resources=resources, raise_on_error=False
        )
    assert not run.success
    planted("".join(capfd.readouterr()))
