"""Pictures and videos that MLflow holds, wherever it keeps artifacts.

Belongs here: which of them go, and which somebody must look at. Not here: text in MLflow's own database (`erase`, where it is a
local file), weights (`trained_models`).

Nobody can tell whom a picture shows. What was logged by a run on a dataset version with one of the clips goes, as reports of such
versions do; the others are named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from lafid_assets.dataset.forget.subject import Subject
from resources.tracking import DATASET_TAG, Tracking

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4"})


@dataclass
class LoggedPictures:
    """Addresses of pictures.

    Attributes:
        removed: gone, or in a dry run about to go.
        to_check: of other runs, or where the artifact store removes nothing.
    """

    removed: list[str] = field(default_factory=list)
    to_check: list[str] = field(default_factory=list)


def erase_logged_pictures(subject: Subject, tracking: Tracking, *, dry_run: bool) -> LoggedPictures:
    """Remove the pictures of runs on the subject's dataset versions; name all others."""
    found = LoggedPictures()
    if not tracking.is_there:
        return found
    client = tracking.connect()
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    for run in _runs(client):
        theirs = run.data.tags.get(DATASET_TAG) in subject.versions
        pictures = list(_pictures(client, run.info.run_id))
        repository = get_artifact_repository(run.info.artifact_uri) if theirs and pictures else None
        for path in pictures:
            gone = repository is not None and (dry_run or _removed(repository, path))
            (found.removed if gone else found.to_check).append(f"{run.info.artifact_uri}/{path}")
    return found


def _removed(repository: Any, path: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        repository.delete_artifacts(path)
    except (MlflowException, NotImplementedError, OSError):  # many artifact stores can only be written to
        return False
    return True


def _runs(client: Any) -> Iterator[Any]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    token = None
    while experiments:
        page = client.search_runs(experiments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _pictures(client: Any, run_id: str, folder: str | None = None) -> Iterator[str]:
    for entry in client.list_artifacts(run_id, folder):
        if entry.is_dir:
            yield from _pictures(client, run_id, entry.path)
        elif PurePosixPath(entry.path).suffix.lower() in PICTURES:
            yield entry.path
