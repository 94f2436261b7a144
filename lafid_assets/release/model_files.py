"""A model's files on this disk, whatever names it: an address of the registry, or a checkpoint's folder.

Belongs here: that address -> the checkpoint's and the base's folder. Not here: fetching them (`model.release.package`), loading
them (`model.release.pipeline`), which model is compared with (`champion`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from model.files import sha256_folder
from model.release import LOADER, MANIFEST_FILE
from resources.tracking import Tracking

SCHEME = "models:/"


class ModelMissing(LookupError):
    """There is no such model, or its base is not here; the message names it and the remedy."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on this disk."""

    name: str
    checkpoint_sha256: str
    checkpoint_dir: Path
    base_dir: Path


def find_model(
    model: str, tracking: Tracking, downloads: Path, *, base_dir: Path | None = None, adopted: Callable[[str], Path] | None = None
) -> ModelFiles:
    """Where a model's files lie.

    Args:
        model: models:/lafid@champion, models:/lafid/3, models:/m-..., or a checkpoint's folder.
        downloads: a folder for what a server keeps; what is there already is not fetched again.
        base_dir: its base, where that neither travels with the model nor was adopted.
        adopted: where the adopted base of that name lies, or would.

    Raises:
        ModelMissing: there is no such model, or its base is not here.
        CheckpointError: what lies there is no checkpoint that this version reads.
        TrackingUnreachable: MLflow's server does not answer.
    """
    if not model.startswith(SCHEME) and not (Path(model) / MANIFEST_FILE).is_file():  # to see that takes no torch
        raise ModelMissing(f"{model} is no model: name one of the registry ({SCHEME}lafid@champion), or a checkpoint's folder")
    with in_registry(model, tracking):
        from model.release.package import PackageError, base_of, fetch

        try:
            found = fetch(model, None if tracking.is_local else downloads)
            base = base_of(found, model, base_dir, adopted)
        except PackageError as error:
            raise ModelMissing(str(error)) from error
    return ModelFiles(model, _sha256_of(found.checkpoint_dir), found.checkpoint_dir, base)


@contextmanager
def in_registry(model: str, tracking: Tracking) -> Iterator[None]:
    """Where `model.release.package` finds a model of that name; of a checkpoint's folder no registry is asked.

    Raises:
        ModelMissing: the block did not find it, or there is no registry.
    """
    if not model.startswith(SCHEME):
        yield
        return
    if not tracking.is_there:
        raise ModelMissing(
            f"there is no {model}: there is no registry at {tracking.uri} yet. `lafid demo` makes one; of another place set "
            "MLFLOW_TRACKING_URI"
        )
    tracking.connect()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise ModelMissing(
            f"there is no {model} at {tracking.uri} ({error.message}): name another model, or run `lafid demo`"
        ) from error


def _sha256_of(folder: Path) -> str:
    """Hash of the checkpoint, whatever `lafid pull` put beside it."""
    from model.release.checkpoint import read_manifest

    return sha256_folder(folder, {MANIFEST_FILE, *read_manifest(folder).parts} if (folder / LOADER).is_file() else None)
