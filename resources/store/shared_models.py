"""The models that the store holds for all nodes, so that each node computes with the same ones.

Belongs here: bringing a model into the store, and from there to a node, checked. Not here: the folder of a node
(`model.model_store`), when a run asks (`lafid_assets.steps.step_run`), the internet (`model.model_store.fetch`).

    models/<model>/<files>              as in the node's folder
    models/<model>/record.json          last: what each file is, and its sha256
    models/accepted_licences.json       which terms were accepted for all nodes
"""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from model.files import locked, whole_folder
from model.model_store.registry import REGISTRY, ModelFile, find_entry
from model.model_store.store import LICENCES, RECORD, Licences, ModelStore, Record
from resources.settings import Settings
from resources.store.file_store import FileStore, StoreUnusable

LOGGER = logging.getLogger("lafid.models")
FOLDER = "models"
"""A folder of the store."""
_CHUNK_BYTES = 8 << 20


class SharedModelDamaged(ValueError):
    """What the store holds of a model is not what was pushed; the message names place and remedy."""


class ModelDiffers(ValueError):
    """Node and store have different versions of a model; the message names both and the remedy."""


def push_models(models: ModelStore, store: FileStore, names: Sequence[str] = ()) -> list[Record]:
    """Put models of this node into the store, with the terms that were accepted for them; what is there already stays.

    Args:
        names: all that are here and may be used, unless given.

    Returns:
        the records of those that were asked for.

    Raises:
        ModelUnknown, ModelMissing, LicenceNotAccepted, StoreDamaged: as `ModelStore.require`.
        ModelDiffers: the store has another version of one.
        StoreUnusable: the store cannot be written.
    """
    chosen = [models.require(name) for name in names or [entry.name for entry in REGISTRY if models.usable(entry.name)]]
    accepted = models.licences.accepted
    terms = {model.entry.licence: accepted[model.entry.licence] for model in chosen if model.entry.licence in accepted}
    known = _licences(store).accepted
    if terms.keys() - known.keys():
        store.write_bytes(f"{FOLDER}/{LICENCES}", Licences(accepted=terms | known).model_dump_json(indent=2).encode())
    for model in chosen:
        there = _record(store, model.entry.name)
        if there is None:
            for file in model.record.files:
                with store.writing(f"{_place(model.entry.name)}/{file.name}") as path:
                    shutil.copyfile(model.folder / file.name, path)
            store.write_bytes(f"{_place(model.entry.name)}/{RECORD}", (model.folder / RECORD).read_bytes())
        elif there != model.record:
            raise _differing(store, model.entry.name, models)
    return [model.record for model in chosen]


def take_models(settings: Settings) -> None:
    """Bring all models that the store holds to this node: a run that takes what is there by itself shall find the same anywhere.

    Raises:
        ModelDiffers: the node has another version of one.
        SharedModelDamaged: what the store holds is not what was pushed.
        StoreUnusable: the store cannot be read.
    """
    models, store = ModelStore(settings.models), FileStore(settings.store_uri, settings.home)
    there = {path.split("/")[1] for path in store.list_tree(FOLDER) if path.endswith(f"/{RECORD}")}
    known = {entry.name for entry in REGISTRY}
    for name in sorted(there - known):
        LOGGER.warning("%s/%s is a model that this version does not know: it is left there", store.uri, _place(name))
    for name in sorted(there & known):
        take_model(models, store, name)


def take_model(models: ModelStore, store: FileStore, name: str) -> Record | None:
    """Bring a model of the store to this node, whole and checked, with the acceptance of its terms.

    Returns:
        its record; None: the store does not hold it.

    Raises:
        ModelUnknown: the registry has no such model.
        ModelDiffers, SharedModelDamaged, StoreUnusable: as `take_models`.
    """
    entry, record = find_entry(name), _record(store, name)
    if record is None:
        return None
    with locked(models.root / ".taking"):  # no other process of this node brings models here meanwhile
        if not models.present(name):
            with whole_folder(models.folder(name)) as folder:
                for file in record.files:
                    _copy(store, f"{_place(name)}/{file.name}", folder / file.name, file.sha256)
                (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n")
            LOGGER.info("model %s comes from %s/%s", name, store.uri, _place(name))
            _tell_unpublished(entry.files, record, store)
        elif models.record(name) != record:
            raise _differing(store, name, models)
        if not models.accepted(entry.licence) and (when := _licences(store).accepted.get(entry.licence)):
            models.accept(entry.licence, when)
    return record


def _copy(store: FileStore, path: str, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    with store.opened(path) as source, target.open("wb") as written:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
            written.write(chunk)
    if digest.hexdigest() != sha256:
        found = f"sha256 {digest.hexdigest()[:12]}, recorded {sha256[:12]}"
        raise SharedModelDamaged(
            f"{store.uri}/{path} is not the file that was pushed ({found}): {_push_again(store, path.split('/')[1])}"
        )


def _tell_unpublished(files: Sequence[ModelFile], record: Record, store: FileStore) -> None:
    """`lafid models add` takes a file that is not the published one, and says so: so does every node that gets it."""
    published = {file.name: file.sha256 for file in files if file.sha256}
    for file in record.files:
        if published.get(file.name, file.sha256) != file.sha256:
            LOGGER.warning("%s of model %s in %s is not the published file", file.name, record.name, store.uri)


def _record(store: FileStore, name: str) -> Record | None:
    path = f"{_place(name)}/{RECORD}"
    if not store.exists(path):
        return None
    try:
        return Record.model_validate_json(store.read_bytes(path))
    except ValidationError as error:
        raise SharedModelDamaged(f"{store.uri}/{path} is no record of a model: {_push_again(store, name)}") from error


def _licences(store: FileStore) -> Licences:
    path = f"{FOLDER}/{LICENCES}"
    if not store.exists(path):
        return Licences()
    try:
        return Licences.model_validate_json(store.read_bytes(path))
    except ValidationError as error:
        raise StoreUnusable(f"{store.uri}/{path} is no book of licences: delete it, and push the models again") from error


def _differing(store: FileStore, name: str, models: ModelStore) -> ModelDiffers:
    return ModelDiffers(
        f"the model {name} in {models.folder(name)} is another version than the one for all nodes in {store.uri}/{_place(name)}: "
        "delete the one that is not meant"
    )


def _push_again(store: FileStore, name: str) -> str:
    return f"delete {store.uri}/{_place(name)}, and run `lafid models push {name}` where the model is whole"


def _place(name: str) -> str:
    return f"{FOLDER}/{name}"
