"""Checkpoints in MLflow: logged (with a base that has no address), registered, pulled back.

Belongs here: the only use of mlflow in the model half. Not here: which tracking server is meant (the caller sets the URI and
the experiment, or the environment does), aliases, or anything about drawing (`pipeline`).

A logged model is a models-from-code pyfunc: source, json and safetensors, nothing pickled. `pull` reads its artifacts with
the code of this process; `mlflow.pyfunc.load_model`, where LaFID is not installed, runs the copy of the package `model` that
travels with it.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from model.bases.digests import INFO_FILE
from model.encoding.head_mask import OVAL
from model.face_engine.interface import FaceEngine
from model.files import whole_folder
from model.presets import Preset
from model.release import ADDRESS, MANIFEST_FILE
from model.release.checkpoint import Manifest, read_manifest
from model.release.drawing_settings import AS_TRAINED, DrawingSettings
from model.release.pipeline import LafidPipeline, load
from model.release.service import ServiceLimits
from model.untrusted_files import Untrustworthy, check_folder, inside

_CHECKPOINT, BASE = "checkpoint", "base"
_BASE_DIR = "base_dir"
"""What `mlflow.pyfunc.load_model(uri, model_config={"base_dir": ...})` names, where the base does not travel along; beside it
stand the lines of `DrawingSettings` and of `ServiceLimits`. MLflow lets callers change what is there, so all of it is."""
_PACKAGE = Path(__file__).parents[1]
# What the package `model` needs to draw a video. Pinned to what is installed when a checkpoint is logged.
_REQUIREMENTS = (
    "accelerate",
    "av",
    "diffusers",
    "ftfy",
    "mlflow",
    "numpy",
    "peft",
    "pillow",
    "pillow-heif",
    "pydantic",
    "safetensors",
    "tokenizers",
    "torch",
    "torchvision",
    "transformers",
)
_OF_DLIB = ("dlib-bin", "face-recognition-models")
_OF_INSIGHTFACE = ("insightface", "onnx", "opencv-python-headless")
_ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
"""One of them, whichever is here: they install over the same folder."""


class PackageError(ValueError):
    """A model in MLflow is not one of LaFID's."""


def log_checkpoint(
    checkpoint_dir: Path,
    base_dir: Path,
    *,
    name: str,
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    params: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> str:
    """Logs a checkpoint as one LoggedModel.

    Args:
        base_dir: its base; it travels along where it has no public address.
        name: of the LoggedModel (and of the run).
        tags: the caller's (git commit, Dagster run, ...); what the checkpoint knows of itself is added.
        params: beside those of training, which are logged anyway.
        run_id: the run that it comes from; a run of its own unless given, inside the active one if there is one.

    Returns:
        models:/m-..., what MLflow registers and `pull` takes.
    """
    mlflow = _mlflow()
    manifest = read_manifest(checkpoint_dir)
    artifacts = {_CHECKPOINT: str(checkpoint_dir)} | ({} if manifest.base.repository else {BASE: str(base_dir)})
    all_tags = {**_tags(manifest), **tags}
    all_params = {**training_params(manifest.preset), **(params or {})}
    if run_id is None:
        nested = mlflow.active_run() is not None
        with mlflow.start_run(run_name=name, nested=nested, tags=all_tags) as run:
            mlflow.log_params(all_params)
            mlflow.log_dict(manifest.model_dump(), "lafid.json")
            run_id = run.info.run_id
    # `pyfunc.log_model` is this call for the active run: making the training's own run active would end it, too.
    info = mlflow.models.Model.log(
        None,
        mlflow.pyfunc,
        run_id=run_id,
        name=name,
        python_model=str(_PACKAGE / "release" / "pyfunc_model.py"),
        code_paths=[str(_PACKAGE)],
        artifacts=artifacts,
        model_config={_BASE_DIR: ""} | {name: "" if value is None else value for name, value in (*AS_TRAINED, *ServiceLimits())},
        pip_requirements=pinned_requirements(manifest),
        params=all_params,
        tags=all_tags,
        step=manifest.step,
    )
    mlflow.log_metrics(dict(metrics), step=manifest.step, run_id=run_id, model_id=info.model_id)
    return str(info.model_uri)


def describe_logged(model_id: str, *, tags: Mapping[str, str], metrics: Mapping[str, float], step: int) -> str:
    """Adds to a logged model what was found out after it was logged; tags that it has stay as they are. Gives its address."""
    mlflow = _mlflow()
    model = mlflow.get_logged_model(model_id)
    mlflow.MlflowClient().set_logged_model_tags(model_id, {name: tag for name, tag in tags.items() if name not in model.tags})
    mlflow.log_metrics(dict(metrics), step=step, run_id=model.source_run_id, model_id=model_id)
    return str(model.model_uri)


def pull(
    model_uri: str,
    drawing: DrawingSettings = AS_TRAINED,
    face_engine: FaceEngine | None = None,
    *,
    base_dir: Path | None = None,
    adopted: Callable[[str], Path] | None = None,
    downloads: Path | None = None,
) -> LafidPipeline:
    """A model, ready to draw.

    Args:
        model_uri, downloads: as for `fetch`.
        drawing, face_engine: as for `pipeline.load`.
        base_dir: where its base lies, unless that travels with the model.
        adopted: where the adopted base of that name lies, or would; asked where `base_dir` is left out.

    Raises:
        PackageError: the model was not logged by `log_checkpoint`, or its base is neither given nor adopted.
    """
    found = fetch(model_uri, downloads)
    return load(found.checkpoint_dir, base_of(found, model_uri, base_dir, adopted), drawing, face_engine)


@dataclass(frozen=True)
class Fetched:
    """A model's files, on this machine.

    Attributes:
        base_dir: of a base that travels along.
        tags: of the registered version and of the logged model; empty of a checkpoint's folder.
        metrics: of the logged model.
    """

    checkpoint_dir: Path
    base_dir: Path | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


def base_of(found: Fetched, model_uri: str, base_dir: Path | None = None, adopted: Callable[[str], Path] | None = None) -> Path:
    """The folder of a model's base: that which travels along, the named one, or the adopted one.

    Raises:
        PackageError: there is none of them.
    """
    if found.base_dir is not None:
        return found.base_dir
    base = read_manifest(found.checkpoint_dir).base
    chosen = base_dir if base_dir is not None or adopted is None else adopted(base.name)
    if chosen is None or not chosen.is_dir():
        raise PackageError(f"{model_uri} needs its base {base}: adopt it (`lafid adopt`), or name its folder (`--base`)")
    return chosen


def fetch(model_uri: str, downloads: Path | None = None) -> Fetched:
    """The files that `pull` reads; nothing of theirs is run, and nothing outside of the model's own folder read.

    Args:
        model_uri: models:/lafid@champion, models:/lafid/3, models:/m-..., or the folder of a checkpoint.
        downloads: a folder for what a server keeps: what is there already is not fetched again. None: the registry's files lie on
            this disk; MLflow would leave a copy of another's in the folder for temporary files, every time.

    Raises:
        PackageError: it was not logged by `log_checkpoint`.
    """
    if not model_uri.startswith("models:"):
        folder = Path(model_uri)
        if not (folder / MANIFEST_FILE).is_file():
            raise PackageError(
                f"{model_uri} is no model: name one of the registry (models:/lafid@champion, models:/lafid/3) or the folder of a "
                f"checkpoint, which holds {MANIFEST_FILE}"
            )
        beside = folder / BASE  # as `pulled_folder` writes it
        return Fetched(folder, beside if (beside / INFO_FILE).is_file() else None, {}, {})
    mlflow = _mlflow()
    registered = _version_at(mlflow.MlflowClient(), model_uri)
    # A LoggedModel's address never means another one later.
    folder = _downloaded(mlflow, model_uri, model_uri if registered is None else str(registered.source), downloads)
    entry = mlflow.models.Model.load(str(folder))
    artifacts = entry.flavors.get("python_function", {}).get("artifacts", {})
    if _CHECKPOINT not in artifacts:
        raise PackageError(f"{model_uri} is no LaFID model: it holds {', '.join(sorted(artifacts)) or 'no artifacts'}")
    try:
        places = {name: inside(folder, str(told["path"])) for name, told in artifacts.items() if name in (_CHECKPOINT, BASE)}
        for place in places.values():
            check_folder(place)
    except (Untrustworthy, FileNotFoundError) as error:
        raise PackageError(f"{model_uri} is no LaFID model: {error}") from error
    logged = None if entry.model_id is None else mlflow.get_logged_model(entry.model_id)
    tags = ({} if logged is None else dict(logged.tags)) | ({} if registered is None else registered.tags)
    metrics = {} if logged is None else {metric.key: metric.value for metric in logged.metrics or []}
    return Fetched(places[_CHECKPOINT], places.get(BASE), tags, metrics)


def _downloaded(mlflow: ModuleType, model_uri: str, source: str, downloads: Path | None) -> Path:
    if downloads is None:
        return Path(mlflow.artifacts.download_artifacts(model_uri))
    folder = downloads / re.sub(r"[^0-9A-Za-z-]", "_", source.removeprefix("models:/"))
    if not folder.is_dir():
        try:
            with whole_folder(folder) as temporary:
                mlflow.artifacts.download_artifacts(source, dst_path=str(temporary))
        except OSError:
            if not folder.is_dir():  # another process was quicker
                raise
    return folder


def _version_at(client: Any, model_uri: str) -> Any:
    """The registered version that is named; None: a LoggedModel is.

    Raises:
        PackageError: nothing of a registry is named.
    """
    named = ADDRESS.fullmatch(model_uri)
    if named is None:
        raise PackageError(f"{model_uri} names no model of a registry: say models:/lafid@champion, or models:/lafid/3")
    if named["alias"]:
        return client.get_model_version_by_alias(named["name"], named["alias"])
    return client.get_model_version(named["name"], named["version"]) if named["version"] else None


def _mlflow() -> ModuleType:
    """mlflow, imported without telemetry or progress bars unless the user has decided otherwise: it reads both on import."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    return mlflow


def _tags(manifest: Manifest) -> dict[str, str]:
    return {
        "preset": manifest.preset.name,
        "base": manifest.base.name,
        "base_sha256": manifest.base.sha256,
        **({"base_repository": f"{manifest.base.repository}@{manifest.base.revision}"} if manifest.base.repository else {}),
        "dataset_version": manifest.dataset_version,
        "face_engine": manifest.face_engine.name,
        "head_mask": str(manifest.head_mask),
        "seed": str(manifest.seed),
    }


def training_params(preset: Preset) -> dict[str, str]:
    """Every setting that a training depends on, by its place in the preset: MLflow writes those of drawing beside them, whose
    names may be the same (`train.precision` is not `precision`)."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in _flat(preset.of_training())}


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in settings.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return flat


def pinned_requirements(manifest: Manifest) -> list[str]:
    """name==version of what draws with this checkpoint, and of no other face engine or mask than it was trained with.

    A local version (torch's +cu130) names no file of a registry and is cut.
    """
    dlib, matting = manifest.face_engine.name == "dlib", manifest.head_mask.name != OVAL
    needed = [*_REQUIREMENTS, *(_OF_DLIB if dlib else _OF_INSIGHTFACE)]
    if matting or not dlib:
        needed.append(next((name for name in _ONNXRUNTIME if _is_installed(name)), _ONNXRUNTIME[0]))
    return [f"{name}=={version(name).split('+')[0]}" for name in sorted(needed)]


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False
