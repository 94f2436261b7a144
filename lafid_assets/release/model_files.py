"""A model's files on this disk, whatever names it: an address of the registry, or a checkpoint's folder.

Belongs here: that address -> the checkpoint's and the base's folder, downloaded where MLflow is elsewhere. Not here: loading them
(`model.release.pipeline`), which model is compared with (`champion`).
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.files import sha256_folder, whole_folder
from model.release import MANIFEST_FILE
from resources.tracking import Tracking

SCHEME = "models:/"
_CHECKPOINT, _BASE = "checkpoint", "base"
"""Artifacts of a model that `model.release.package` has logged."""


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
    model: str, tracking: Tracking, downloads: Path, *, base_dir: Path | None = None, bases_dir: Path | None = None
) -> ModelFiles:
    """Where a model's files lie.

    Args:
        model: models:/lafid@champion, models:/lafid/3, models:/m-..., or a checkpoint's folder.
        downloads: a folder for what a server keeps; what is there already is not fetched again.
        base_dir: its base, where that neither travels with the model nor was adopted.
        bases_dir: where adopted bases lie, each below its name.

    Raises:
        ModelMissing: there is no such model, or its base is not here.
        CheckpointError: what lies there is no checkpoint that this version reads.
        TrackingUnreachable: MLflow's server does not answer.
    """
    folder, base = _from_registry(model, tracking, downloads) if model.startswith(SCHEME) else (Path(model), None)
    if not (folder / MANIFEST_FILE).is_file():
        raise ModelMissing(f"{model} is no model: name one of the registry ({SCHEME}lafid@champion), or a checkpoint's folder")
    from model.release.checkpoint import read_manifest

    info = read_manifest(folder).base
    adopted = None if bases_dir is None else bases_dir / info.name
    found = next((path for path in (base, base_dir, adopted) if path is not None and path.is_dir()), None)
    if found is None:
        raise ModelMissing(f"{model} needs its base {info}: adopt it (`lafid adopt`), or name its folder (`--base`)")
    return ModelFiles(model, sha256_folder(folder), folder, found)


def _from_registry(model: str, tracking: Tracking, downloads: Path) -> tuple[Path, Path | None]:
    """Folders of the checkpoint, and of the base where it travels along."""
    if not tracking.is_there:
        raise ModelMissing(f"there is no {model}: there is no registry at {tracking.uri}, set MLFLOW_TRACKING_URI to where it is")
    tracking.connect()
    from mlflow.exceptions import MlflowException

    try:
        folder = _local(model, tracking, downloads)
    except MlflowException as error:
        raise ModelMissing(f"there is no {model} at {tracking.uri}: {error.message}") from error
    import mlflow

    flavors: dict[str, Any] = mlflow.models.Model.load(str(folder)).flavors
    artifacts = flavors.get("python_function", {}).get("artifacts", {})
    if _CHECKPOINT not in artifacts:
        raise ModelMissing(f"{model} is no LaFID model: it holds {', '.join(sorted(artifacts)) or 'no artifacts'}")
    base = folder / artifacts[_BASE]["path"] if _BASE in artifacts else None
    return folder / artifacts[_CHECKPOINT]["path"], base


def _local(model: str, tracking: Tracking, downloads: Path) -> Path:
    """Where MLflow keeps it, if that is this disk; else what was fetched of it, now or earlier."""
    import mlflow

    if not tracking.uri.startswith(("http://", "https://")):
        return Path(mlflow.artifacts.download_artifacts(model))
    source = _source(model, mlflow.MlflowClient())
    folder = downloads / re.sub(r"[^0-9A-Za-z-]", "_", source.removeprefix(SCHEME))
    if not folder.is_dir():
        shutil.rmtree(downloads, ignore_errors=True)  # one at a time: they are large, and can be fetched again
        with whole_folder(folder) as temporary:
            mlflow.artifacts.download_artifacts(source, dst_path=str(temporary))
    return folder


def _source(model: str, client: Any) -> str:
    """models:/m-..., which never means another one later."""
    told = model.removeprefix(SCHEME)
    if "@" in told:
        return str(client.get_model_version_by_alias(*told.split("@", 1)).source)
    return str(client.get_model_version(*told.split("/", 1)).source) if "/" in told else model
