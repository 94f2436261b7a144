"""Benches, own files, models, logged pictures: what shows or names somebody forgotten goes, or is named; the rest stays."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.dataset.forget.elsewhere import (
    benches_with,
    delete_own_files,
    erase_logged_pictures,
    models_trained_on,
    own_files,
)
from lafid_assets.dataset.forget.erase import ForgetIncomplete
from lafid_assets.dataset.forget.subject import RawFile, Subject, identify
from lafid_assets.release.bench_folder import folder_of
from resources.store import s3_objects
from resources.tracking import EXPERIMENT, Tracking
from tests.lafid_assets.dataset.forget.conftest import UNFINISHED


def test_benches_with_the_clip_would_go_and_the_others_stay(
    installation: Any, erase: Callable[..., Any], benches: dict[str, str], benches_left: Callable[..., set[str]]
) -> None:
    """And they do: `test_erase.test_whole_person_goes`."""
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=False)
    gone = {folder_of(benches["a"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    would = erase(installation, subject, dry_run=True)
    assert gone == {path for path in would.removed if path.startswith("benches/")}
    assert not any("/store/benches/" in path for path in would.rewritten)
    assert benches_left(installation) == set(benches)


def test_a_person_s_benches_are_those_of_the_clips_and_of_the_name(installation: Any, benches: dict[str, str]) -> None:
    subject = identify(installation.lake, [], [installation.clip("c")], delete_files=False)
    theirs = {folder_of(benches["c"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    assert set(benches_with(installation.store, subject)) == theirs
    named = subject.model_copy(update={"clip_ids": (), "contents": (), "identities": ("person-0",)})
    assert set(benches_with(installation.store, named)) == theirs | {folder_of(version) for version in benches.values()}
    nobody = named.model_copy(update={"identities": ("person-7",), "captions": ()})
    assert benches_with(installation.store, nobody) == [UNFINISHED.rsplit("/", 2)[0]]


@pytest.fixture
def subject_of(bucket: str, tmp_path: Path) -> Callable[..., Subject]:
    """Somebody with an object, a file, and a row of a table that has neither."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "b.mp4").write_bytes(b"b")
    for name in ("a.mp4", "other.mp4"):
        s3_objects.client().put_object(Bucket=bucket, Key=f"set/{name}", Body=b"a")
    places = [(f"s3://{bucket}/set", "a.mp4"), (f"s3://{bucket}/set", "gone.mp4"), (str(tmp_path / "local"), "b.mp4")]
    files = tuple(RawFile(clip_root=root, path=path, named_by=path) for root, path in places)
    return lambda: Subject.model_construct(raw_files=files)


def test_own_objects_and_files_are_found_and_deleted(subject_of: Callable[..., Subject], bucket: str, tmp_path: Path) -> None:
    found = [f"s3://{bucket}/set/a.mp4", str(tmp_path / "local" / "b.mp4")]
    assert own_files(subject_of()) == found
    assert list(delete_own_files(subject_of())) == found
    assert own_files(subject_of()) == []
    assert [item.key for item in s3_objects.list_objects(f"s3://{bucket}/set/")] == ["set/other.mp4"]


def test_nothing_that_was_fetched_stays(installation: Any, erase: Callable[..., Any]) -> None:
    """Tables are among it: scrubbed ones would be taken for what the prefix says."""
    scratch = installation.settings.scratch
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=False)
    table = scratch / "table-state" / "OpenHumanVid_part_001.csv"
    table.parent.mkdir(parents=True)
    table.write_text(installation.clip("a"))
    done = erase(installation, subject, dry_run=True)
    assert str(scratch) in done.removed
    assert str(table) not in done.rewritten
    with _held(table.parent), pytest.raises(ForgetIncomplete, match="another process reads .*table-state: end it"):
        erase(installation, subject)
    erase(installation, subject)
    assert list(scratch.iterdir()) == []


@contextmanager
def _held(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(descriptor)


def _subject(*trained_versions: str) -> Subject:
    known: dict[str, Any] = dict.fromkeys(("contents", "captions", "raw_files", "versions"), ())
    checkpoints = ("training_runs/x",) if trained_versions else ()
    known |= {"shown_in_demo": False, "delete_files": False}
    return Subject(**known, clip_ids=("a",), trained_versions=trained_versions, checkpoints=checkpoints)


@dataclass(frozen=True)
class Version:
    name: str
    version: str
    tags: dict[str, str] = field(default_factory=dict)
    source: str = ""


class Registry(Tracking):
    """Two versions in a registry that is there, and what a training logged on its way; one of it was registered."""

    is_there = True

    def connect(self) -> Any:
        return self

    def search_model_versions(self) -> list[Version]:
        tagged = [Version("lafid", number, {"lafid.dataset_version": f"v{number}"}, f"models:/m-{number}") for number in "12"]
        return [*tagged, Version("x", "1"), Version("by hand", "7", source="models:/m-7a")]

    def get_logged_model(self, model_id: str) -> Any:
        return Version("", "", {"lafid.dataset_version": "v2"} if model_id == "m-7a" else {})

    def tagged_models(self, tag: str, value: str) -> list[str]:
        return {("lafid.dataset_version", "v2"): ["m-2", "m-7a", "m-kept"]}.get((tag, value), [])


def test_checkpoints_registered_versions_and_logged_models_are_named_once(tmp_path: Path) -> None:
    registry = Registry("sqlite:///x", tmp_path)
    assert models_trained_on(_subject("v2"), registry) == [
        "checkpoint training_runs/x",
        "models:/by hand/7 (trained on v2)",
        "models:/lafid/2 (trained on v2)",
        "models:/m-kept (trained on v2)",
    ]
    assert models_trained_on(_subject(), registry) == []


def test_without_a_registry_only_the_store_is_asked(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert models_trained_on(_subject("v2"), tracking) == ["checkpoint training_runs/x"]
    assert list(tmp_path.iterdir()) == [], "asking makes no registry"


def _pictured(*versions: str) -> Subject:
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
    told = erase_logged_pictures(_pictured("v2"), tracking, dry_run=True)
    assert (sorted(told.removed), sorted(told.to_check)) == (theirs, others)
    assert len(_left(client, runs["v2"])) == 3
    assert erase_logged_pictures(_pictured("v2"), tracking, dry_run=False) == told
    assert _left(client, runs["v2"]) == {"table.json"}
    assert len(_left(client, runs["v1"])) == 3


def test_what_a_store_does_not_remove_is_named(log: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    def refuse(*_: Any) -> None:
        raise NotImplementedError

    monkeypatch.setattr(LocalArtifactRepository, "delete_artifacts", refuse)
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path / "artifacts")
    log(tracking)
    found = erase_logged_pictures(_pictured("v2"), tracking, dry_run=False)
    assert (found.removed, len(found.to_check)) == ([], 4)


def test_without_an_mlflow_none_is_made(tmp_path: Path) -> None:
    tracking = Tracking(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    found = erase_logged_pictures(_pictured("v2"), tracking, dry_run=False)
    assert (found.removed, found.to_check) == ([], [])
    assert list(tmp_path.iterdir()) == []
