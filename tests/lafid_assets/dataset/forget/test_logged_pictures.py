"""Pictures in MLflow, on a disk and in a bucket."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.dataset.forget.elsewhere import erase_logged_pictures
from lafid_assets.dataset.forget.subject import Subject
from resources.tracking import EXPERIMENT, Tracking


def _subject(*versions: str) -> Subject:
    known: dict[str, Any] = dict.fromkeys(("contents", "captions", "raw_files", "trained_versions", "checkpoints"), ())
    return Subject(**known, clip_ids=("a",), versions=versions, shown_in_demo=False, delete_files=False)


@pytest.fixture
def log(tmp_path: Path) -> Callable[[Tracking], Any]:
    """Logs a picture, one in a folder, and a table, in a run on v1 and in one on v2; gives the client and the runs."""

    def make(tracking: Tracking, location: str | None = None) -> tuple[Any, dict[str, Any]]:
        import mlflow

        if location is not None:
            mlflow.set_tracking_uri(tracking.uri)
            mlflow.create_experiment(EXPERIMENT, artifact_location=location)
        client = tracking.open_experiment()
        runs = {}
        for version in ("v1", "v2"):
            experiment = client.get_experiment_by_name(EXPERIMENT).experiment_id
            run = client.create_run(experiment, tags={"lafid.dataset_version": version})
            for name, folder in (("shown.png", None), ("video.MP4", "deep/er"), ("table.json", None)):
                (tmp_path / name).write_text(version)
                client.log_artifact(run.info.run_id, str(tmp_path / name), folder)
            runs[version] = run.info
        return client, runs

    return make


def _left(client: Any, run: Any) -> set[str]:
    return {entry.path for folder in (None, "deep/er") for entry in client.list_artifacts(run.run_id, folder)} - {"deep"}


@pytest.mark.parametrize("in_bucket", [False, True])
def test_pictures_of_their_versions_go_and_others_are_named(
    log: Callable[..., Any], tmp_path: Path, request: pytest.FixtureRequest, in_bucket: bool
) -> None:
    location = f"s3://{request.getfixturevalue('bucket')}/mlflow" if in_bucket else None
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    client, runs = log(tracking, location)
    theirs = [f"{runs['v2'].artifact_uri}/{path}" for path in ("deep/er/video.MP4", "shown.png")]
    others = [f"{runs['v1'].artifact_uri}/{path}" for path in ("deep/er/video.MP4", "shown.png")]
    told = erase_logged_pictures(_subject("v2"), tracking, dry_run=True)
    assert (sorted(told.removed), sorted(told.to_check)) == (theirs, others)
    assert len(_left(client, runs["v2"])) == 3
    assert erase_logged_pictures(_subject("v2"), tracking, dry_run=False) == told
    assert _left(client, runs["v2"]) == {"table.json"}
    assert len(_left(client, runs["v1"])) == 3


def test_what_a_store_does_not_remove_is_named(log: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    log(tracking)
    found = erase_logged_pictures(_subject("v2"), tracking, dry_run=False)
    assert (found.removed, len(found.to_check)) == ([], 4)


def test_without_an_mlflow_none_is_made(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    found = erase_logged_pictures(_subject("v2"), tracking, dry_run=False)
    assert (found.removed, found.to_check) == ([], [])
    assert list(tmp_path.iterdir()) == []
