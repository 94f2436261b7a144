"""`lafid models`: third-party weights, their terms, and where they lie.

Belongs here: the subcommands and what they show. Not here: the store itself (`model.model_store`).
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn
from rich.table import Table

from lafid_assets.cli.display import CONSOLE, answer
from lafid_assets.cli.options import AsJson, Home
from model.model_store.registry import REGISTRY, TERMS, Licence, ModelEntry, find_entry
from model.model_store.store import ModelStore
from resources.face_engine import model_store
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.store.shared_models import FOLDER as SHARED
from resources.store.shared_models import push_models, take_model

if TYPE_CHECKING:
    from model.face_engine.interface import Box, FaceEngine, Image
    from model.model_store.install import Installation

app = typer.Typer(no_args_is_help=True, help=__doc__.splitlines()[0])

Accept = Annotated[Licence | None, typer.Option(help="Accept these terms, once and for this store.")]
Name = Annotated[str, typer.Argument(help="As `lafid models list` names it.")]
IMAGE_SUFFIXES = frozenset({".avif", ".heic", ".jpeg", ".jpg", ".png", ".webp"})
_RATE_HZ, _FRAMES_A_CLIP, _SIDE_PX = 2.0, 12, 640
"""What `check` looks at."""


@app.command("list")
def list_models(home: Home = None, as_json: AsJson = False) -> None:
    """What there is, under which terms, from where, and whether it is here."""
    store = _store(home)
    found = {"folder": str(store.root), "models": [_entry(store, entry) for entry in REGISTRY]}
    answer(found, _show_models, as_json=as_json)


def _entry(store: ModelStore, entry: ModelEntry) -> dict[str, Any]:
    sizes = [file.size_bytes for file in (store.record(entry.name).files if store.present(entry.name) else entry.files)]
    return {
        "name": entry.name,
        "task": entry.task,
        "licence": entry.licence,
        "size_bytes": sum(filter(None, sizes)) if all(sizes) else None,
        "is_here": "present" if store.usable(entry.name) else "terms not accepted" if store.present(entry.name) else "absent",
        "source": entry.source,
        "fetchable": entry.fetchable,
        "inference": entry.inference,
    }


def _show_models(found: dict[str, Any]) -> None:
    CONSOLE.print(f"models in {found['folder']}")
    for entry in found["models"]:
        size = "? MB" if entry["size_bytes"] is None else f"{entry['size_bytes'] / 1e6:.1f} MB"
        line = f"{entry['name']:34} {entry['task']:20} {size:>9}  {entry['licence']:24} {entry['is_here']}"
        CONSOLE.print(line)
        where = "lafid models fetch" if entry["fetchable"] else "no public address, lafid models add"
        CONSOLE.print(f"    {entry['source']} ({where})", style="dim")
        if entry["inference"]:
            CONSOLE.print(f"    {entry['inference']}", style="dim")


@app.command()
def accept(licence: Annotated[Licence, typer.Argument(help="The terms to accept.")], home: Home = None) -> None:
    """Accept terms, once and for this store."""
    store = _store(home)
    store.accept(licence)
    CONSOLE.print(f"{licence}: {TERMS[licence]} Accepted for {store.root}")


@app.command()
def fetch(name: Name, accept: Accept = None, home: Home = None) -> None:
    """Get a model from the store of all nodes where it was pushed there, else from its public address; a transfer that broke off
    goes on where it stopped."""
    from model.model_store.fetch import fetch as fetch_model
    from model.model_store.install import Installation

    store = _ready(name, accept, home)
    if (record := take_model(store, _files(), name)) is not None:
        _tell(store, Installation(record, ()))
        return
    with Progress("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), console=CONSOLE) as bar:
        tasks = {file.name: bar.add_task(file.name, total=file.size_bytes) for file in find_entry(name).files}
        installed = fetch_model(store, name, lambda file, done, total: bar.update(tasks[file], completed=done, total=total))
    _tell(store, installed)


@app.command()
def add(
    name: Name,
    files: Annotated[list[Path], typer.Argument(help="Its files, under any name; of a pack, its archive or folder.")],
    accept: Accept = None,
    home: Home = None,
) -> None:
    """Copy a model's files into the store, after a look at what they are."""
    from model.model_store.install import install

    store = _ready(name, accept, home)
    _tell(store, install(store, name, files))


@app.command()
def push(
    names: Annotated[list[str] | None, typer.Argument(help="Models; every one that is here when left out.")] = None,
    home: Home = None,
) -> None:
    """Put models into the store, from which every node takes them before it computes."""
    store, files = _store(home), _files()
    pushed = push_models(store, files, names or ())
    for record in pushed:
        size_bytes = sum(file.size_bytes for file in record.files)
        CONSOLE.print(f"{record.name}: {size_bytes / 1e6:.1f} MB in {files.uri}/{SHARED}/{record.name}")
    if not pushed:
        CONSOLE.print(f"{store.root} holds no model: get one with `lafid models fetch NAME`")


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="One model; every one that is here when left out.")] = None, home: Home = None
) -> None:
    """Compare every file with its sha256 at arrival."""
    store = _store(home)
    names = [name] if name else [entry.name for entry in REGISTRY if store.present(entry.name)]
    problems = {model: store.verify(model) for model in names}
    for model, found in problems.items():
        CONSOLE.print(f"{model}: {'as it arrived' if not found else 'DAMAGED'}")
    if any(problems.values()):
        told = "; ".join(problem for found in problems.values() for problem in found)
        raise ValueError(f"{told}: delete the model's folder and add it again")


@app.command()
def check(
    first: Annotated[str, typer.Argument(help="A head pose model.")],
    second: Annotated[str, typer.Argument(help="Another one.")],
    folder: Annotated[Path, typer.Argument(help="Clips or images that show faces.")],
    home: Home = None,
) -> None:
    """Run two head pose models over the same faces: correlation, difference, and whether their signs agree."""
    from model.face_engine.head_pose.comparison import compare
    from model.face_engine.head_pose.loading import load_head_pose
    from resources.face_engine import load_face_engine

    store = _store(home)
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder: name one with clips or images that show faces")
    models = [load_head_pose(store.require(name)) for name in (first, second)]
    engine = load_face_engine("auto")
    found = compare(models[0], models[1], _faces(engine, folder))
    CONSOLE.print(f"{first} and {second} on {found.faces} faces found by {engine.info.name}")
    table = Table("angle", "correlation", "mean difference", "signs")
    for agreement in found.angles:
        correlation = "-" if agreement.correlation is None else f"{agreement.correlation:.3f}"
        table.add_row(agreement.angle, correlation, f"{agreement.mean_absolute_deg:.1f} degrees", agreement.signs)
    CONSOLE.print(table)
    CONSOLE.print(found.verdict)


def _ready(name: str, licence: Licence | None, home: Path | None) -> ModelStore:
    """The store, with the given terms accepted after they were shown."""
    store, entry = _store(home), find_entry(name)
    CONSOLE.print(f"{name}: {entry.licence}. {TERMS[entry.licence]} ({entry.source})")
    if licence:
        store.accept(licence)
    return store


def _tell(store: ModelStore, installed: "Installation") -> None:
    for remark in installed.remarks:
        CONSOLE.print(remark, style="yellow")
    for file in installed.record.files:
        CONSOLE.print(f"{store.folder(installed.record.name) / file.name}  sha256 {file.sha256}")


def _store(home: Path | None) -> ModelStore:
    if home is not None:
        os.environ["LAFID_HOME"] = str(home)
    return model_store()


def _files() -> FileStore:
    settings = Settings.from_environment()
    return FileStore(settings.store_uri, settings.home)


def _faces(engine: "FaceEngine", folder: Path) -> "Iterator[tuple[Image, Sequence[Box]]]":
    """A few frames of every clip and image of the folder, with the boxes that the engine finds in them."""
    for image in _frames(folder):
        if boxes := [face.box_xyxy_px for face in engine.glance(image, side_px=_SIDE_PX)]:
            yield image, boxes


def _frames(folder: Path) -> "Iterator[Image]":
    """Pictures of the folder's files in turn; one that cannot be read is named and left out."""
    import numpy as np

    from lafid_assets.faces.sampling import sample_frames
    from lafid_assets.ingest.clip_names import VIDEO_SUFFIXES
    from lafid_assets.outcomes import ClipError
    from model.encoding.picture import PictureUnusable, read_picture

    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield np.asarray(read_picture(path))
            elif not path.suffix or path.suffix.lower() in VIDEO_SUFFIXES:
                yield from (frame.image_rgb for frame in sample_frames(path, _RATE_HZ, _FRAMES_A_CLIP))
        except (ClipError, OSError, PictureUnusable) as error:
            CONSOLE.print(f"left out {path.name}: {error}", style="yellow")
