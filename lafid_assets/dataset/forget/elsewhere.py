"""What `lafid forget` finds outside tables and texts: the clips' own files, benches, models, and pictures that MLflow holds.

Belongs here: which of them go, and which somebody must look at. Not here: text in MLflow's own database, and what was made of the
files (`erase`); what tables say (`tables`).

Nobody can tell whom a picture shows. What was logged by a run on a dataset version with one of the clips goes, as reports of such
versions do; the others are named. A bench without one of its persons is another bench: it goes as a whole. Weights cannot be made
to forget: whoever owns them must decide, and the next run of `fusion_dit` trains anew, because its latents have changed.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lafid_assets.dataset.forget.subject import RawFile, Subject
from lafid_assets.ingest.media_probe import resolve
from lafid_assets.outcomes import ClipError
from lafid_assets.release.bench_folder import FOLDER
from model.evaluation.bench import BENCH_FILE
from resources.store.file_store import FileStore
from resources.store.s3_objects import ObjectUnreadable, is_address, remove_object, size_of
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


def benches_with(store: FileStore, subject: Subject) -> list[str]:
    """Folders of benches in the store that show one of the clips or name one of the persons; and of those that were never
    finished, of which nobody knows whom they show."""
    folders = sorted({"/".join(path.split("/")[:2]) for path in store.list_tree(FOLDER)})
    return [folder for folder in folders if _holds(store, folder, subject)]


def _holds(store: FileStore, folder: str, subject: Subject) -> bool:
    path = f"{folder}/{BENCH_FILE}"
    if not store.exists(path):
        return True
    text = store.read_bytes(path).decode(errors="replace")
    if any(needle in text for needle in subject.needles):
        return True
    try:
        told = set(_texts(json.loads(text)))
    except json.JSONDecodeError:
        return True
    return not told.isdisjoint((*subject.clip_ids, *subject.names))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)


def own_files(subject: Subject) -> list[str]:
    """Paths and addresses of the clips' own files, as far as they lie where the table says.

    Raises:
        BucketAway: a bucket cannot be asked.
    """
    return [place for raw in subject.raw_files if (place := _place(raw)) is not None]


def delete_own_files(subject: Subject) -> Iterator[str]:
    """Delete them; each is told. A bucket that keeps versions keeps the earlier ones.

    Raises:
        BucketAway: an object cannot be deleted.
    """
    for place in own_files(subject):
        if is_address(place):
            remove_object(place)
        else:
            Path(place).unlink()
        yield place


def _address(raw: RawFile) -> str:
    return f"{raw.clip_root}/{raw.path}"


def _place(raw: RawFile) -> str | None:
    if is_address(raw.clip_root):
        try:
            size_of(_address(raw))
        except ObjectUnreadable as error:
            return None if error.is_missing else _address(raw)
        return _address(raw)
    try:
        path = resolve(Path(raw.clip_root), raw.path)
    except ClipError:  # a path that leads out of its folder is nobody's to delete
        return None
    return None if path is None else str(path)


def models_trained_on(subject: Subject, tracking: Tracking) -> list[str]:
    """Checkpoints in the store, and models in MLflow, registered or only logged, that were trained on a dataset version with one
    of the clips."""
    found = [f"checkpoint {path}" for path in subject.checkpoints]
    if not subject.trained_versions or not tracking.is_there:
        return found
    registered = tracking.connect().search_model_versions()
    for version in registered:
        trained_on = tracking.tags_of(version).get(DATASET_TAG)
        if trained_on in subject.trained_versions:
            found.append(f"models:/{version.name}/{version.version} (trained on {trained_on})")
    told = {version.source for version in registered}
    for trained in subject.trained_versions:
        addresses = [f"models:/{model_id}" for model_id in tracking.tagged_models(DATASET_TAG, trained)]
        found += [f"{address} (trained on {trained})" for address in addresses if address not in told]
    return sorted(found)
