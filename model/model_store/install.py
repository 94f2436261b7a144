"""Bringing a model's files into the store: checked, recorded, and there whole or not at all.

Belongs here: what `lafid models add` does and `fetch` ends with. Not here: the network (`fetch`), the store's layout (`store`).
"""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.files import sha256_file, whole_folder
from model.model_store.inspection import ModelUnfit, read_network, require_kind
from model.model_store.registry import VISION_TYPES, Kind, ModelEntry, find_entry
from model.model_store.store import RECORD, ModelStore, Record, StoredFile

_RUN_FROM_PACKS = (Kind.SCRFD, Kind.ARCFACE, Kind.LANDMARKS_106)
_WHISPER_FILES = ("config.json", "model.bin", "tokenizer.json")
_WHISPER_VOCABULARIES = ("vocabulary.txt", "vocabulary.json")
_VISION_FILES = ("config.json", "model.safetensors", "preprocessor_config.json")
_CLIP_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_CLIP_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_CLIP_FILES = ("config.json", "tokenizer.json")
_CLIP_FURTHER = ("tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")
_NOT_ONNX = (Kind.SIXDREPNET, Kind.WHISPER, Kind.VISION, Kind.CURRICULARFACE, Kind.INCEPTION, Kind.CLIP)
_MAX_MEMBER_BYTES = 2 * 1024**3
_COPY_BYTES = 1024**2


class ModelPresent(FileExistsError):
    """Another version of the model is already there; the message says where."""


@dataclass(frozen=True)
class Installation:
    """What came of adding a model.

    Attributes:
        record: what the store now says.
        remarks: what the user should know, one line each (a file that is not the published one).
    """

    record: Record
    remarks: tuple[str, ...]


def install(store: ModelStore, name: str, sources: Sequence[Path]) -> Installation:
    """Copy a model's files into the store, after a look at what they are.

    Args:
        sources: the files under any name; of a pack, its archive, its folder or its ONNX files.

    Raises:
        ModelUnknown: the registry has no such model.
        LicenceNotAccepted: its terms were not accepted.
        ModelUnfit: a file is not what the model consists of.
        ModelPresent: the model is there with other files.
    """
    entry = find_entry(name)
    store.require_accepted(entry)
    for given in sources:
        if not given.exists():
            raise ModelUnfit(f"there is no {given}")
    remarks: list[str] = []
    chosen: Mapping[str, Source]
    if entry.kind is Kind.PACK:
        chosen = _pack_members(entry, sources)
    else:
        files = [file for source in sources for file in _files_in(source)]
        by_name = {Kind.WHISPER: _whisper_files, Kind.VISION: _vision_files, Kind.CLIP: _clip_files}.get(entry.kind)
        chosen = by_name(entry, files) if by_name else _assigned(entry, files, remarks)
    _refuse_others(entry, chosen)
    if store.present(name):
        return Installation(_unchanged(store, name, chosen), tuple(remarks))
    with whole_folder(store.folder(name)) as folder:
        for target, source in chosen.items():
            _copy(source, folder / target)
        record = Record(name=name, files=_describe(entry, folder, chosen))
        (folder / RECORD).write_text(record.model_dump_json(indent=2) + "\n")
    return Installation(record, tuple(remarks))


Source = Path | zipfile.Path
"""A file, or a member of an archive."""


def _files_in(source: Path) -> list[Path]:
    return sorted(path for path in source.iterdir() if path.is_file()) if source.is_dir() else [source]


def _pack_members(entry: ModelEntry, sources: Sequence[Path]) -> dict[str, Source]:
    """Target name to source of every ONNX file in an archive, a folder or a list of files."""
    members: dict[str, Source] = {}
    for source in sources:
        if source.is_file() and zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                found = [info for info in archive.infolist() if info.filename.endswith(".onnx")]
            for info in found:
                if info.file_size > _MAX_MEMBER_BYTES:
                    raise ModelUnfit(f"{source}: {info.filename} would be {info.file_size} bytes large")
                members[Path(info.filename).name] = zipfile.Path(source, info.filename)
        else:
            members.update({path.name: path for path in _files_in(source) if path.suffix == ".onnx"})
    if not members:
        raise ModelUnfit(f"no ONNX files of {entry.name} in {' '.join(map(str, sources))}: give its archive or its folder")
    return members


def _assigned(entry: ModelEntry, files: Sequence[Path], remarks: list[str]) -> dict[str, Path]:
    """Which given file is which of the model's: by digest, else by name, else by being the only one."""
    wanted = {file.name: file for file in entry.files}
    digests = {path: sha256_file(path) for path in files}
    known = {file.sha256: file.name for file in entry.files if file.sha256}
    chosen = {known[digest]: path for path, digest in digests.items() if digest in known}
    for path in files:
        if path.name in wanted and path.name not in chosen:
            chosen[path.name] = path
    if len(wanted) == 1 == len(files):
        chosen = {entry.files[0].name: files[0]}
    lacking = [name for name in wanted if name not in chosen]
    if lacking:
        raise ModelUnfit(
            f"{entry.name} consists of {', '.join(wanted)}: {', '.join(lacking)} not among {' '.join(map(str, files))}"
        )
    for name, path in chosen.items():
        published = wanted[name].sha256
        if published and digests[path] != published:
            remarks.append(f"{path} is not the published {name} (sha256 {digests[path][:12]}..., expected {published[:12]}...)")
        elif not published:
            remarks.append(f"the sha256 of {name} is not known here: the one of this file is recorded and held to from now on")
    return chosen


def _whisper_files(entry: ModelEntry, files: Sequence[Path]) -> dict[str, Path]:
    """A converted Whisper model, one's own as well: its files by the names that faster-whisper opens."""
    names = {path.name for path in files}
    vocabularies = [name for name in _WHISPER_VOCABULARIES if name in names] or ["vocabulary.txt"]
    needed = (*_WHISPER_FILES, *vocabularies)
    given = _named(entry, files, needed)
    return {name: given[name] for name in needed}


def _vision_files(entry: ModelEntry, files: Sequence[Path]) -> dict[str, Path]:
    """A folder of save_pretrained, one's own as well: its files by the names that transformers opens."""
    given = _named(entry, files, _VISION_FILES)
    config = given["config.json"]
    if (kind := _model_type(config)) not in VISION_TYPES:
        raise ModelUnfit(f"{config} is of a {kind}, which is no vision encoder known here: {', '.join(sorted(VISION_TYPES))}")
    return {name: given[name] for name in _VISION_FILES}


def _clip_files(entry: ModelEntry, files: Sequence[Path]) -> dict[str, Path]:
    """A CLIP with both halves and its tokenizer, one's own as well; of two files of weights the safer one."""
    given = _named(entry, files, _CLIP_FILES)
    chosen = list(_CLIP_FILES)
    for either in (_CLIP_WEIGHTS, _CLIP_PROCESSORS):
        there = [name for name in either if name in given]
        if not there:
            raise ModelUnfit(f"{entry.name} needs {' or '.join(either)}: neither is among {' '.join(map(str, files))}")
        chosen.append(there[0])
    config = given["config.json"]
    if (kind := _model_type(config)) != "clip":
        raise ModelUnfit(f"{config} is of a {kind}, not of a CLIP with both halves")
    return {name: given[name] for name in (*chosen, *(name for name in _CLIP_FURTHER if name in given))}


def _named(entry: ModelEntry, files: Sequence[Path], needed: Sequence[str]) -> dict[str, Path]:
    """Files by their names.

    Raises:
        ModelUnfit: one that is needed is not among them.
    """
    given = {path.name: path for path in files}
    lacking = [name for name in needed if name not in given]
    if lacking:
        raise ModelUnfit(
            f"{entry.name} needs {lacking[0]}, which is not among {' '.join(map(str, files))}: give the model's folder"
        )
    return given


def _model_type(config: Path) -> str | None:
    """Type of the model that a config of transformers describes.

    Raises:
        ModelUnfit: it is none.
    """
    try:
        kind: str | None = json.loads(config.read_text()).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ModelUnfit(f"{config} is no config of transformers: give the model's folder") from error
    return kind


def _refuse_others(entry: ModelEntry, chosen: Mapping[str, Source]) -> None:
    """Look at the files where the user has them, so that an error names what was given.

    Raises:
        ModelUnfit: a file is no network, or of another kind.
    """
    for source in chosen.values():
        if isinstance(source, Path) and entry.kind is Kind.PACK:
            read_network(source)
        elif isinstance(source, Path) and entry.kind not in _NOT_ONNX:
            require_kind(source, entry.kind)


def _copy(source: Source, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, _COPY_BYTES)


def _describe(entry: ModelEntry, folder: Path, chosen: Mapping[str, Source]) -> tuple[StoredFile, ...]:
    """Every file of the folder with its kind; what is not run has none.

    Raises:
        ModelUnfit: a network is missing or of another kind.
    """
    if entry.kind is Kind.SIXDREPNET:
        # Imports torch, which only this model needs.
        from model.face_engine.head_pose.sixdrepnet_export import export_in_child

        weights = folder / entry.files[0].name
        exported = export_in_child(Path(str(chosen[weights.name])), folder / f"{sha256_file(weights)}.onnx")
        return (_stored(weights, None), _stored(exported, Kind.SIXDREPNET))
    if entry.kind is Kind.CLIP:
        _require_loadable(folder, entry.kind, chosen["config.json"])
    if entry.kind in (Kind.WHISPER, Kind.VISION, Kind.CLIP):
        weights_names = ("model.bin", *_CLIP_WEIGHTS)
        return tuple(_stored(path, entry.kind if path.name in weights_names else None) for path in sorted(folder.iterdir()))
    if entry.kind in (Kind.CURRICULARFACE, Kind.INCEPTION):
        weights = folder / entry.files[0].name
        _require_loadable(weights, entry.kind, chosen[weights.name])
        return (_stored(weights, entry.kind),)
    stored = []
    for path in sorted(folder.iterdir()):
        network = read_network(path) if entry.kind is Kind.PACK else require_kind(path, entry.kind)
        kind = network.kind if network.kind in _RUN_FROM_PACKS or entry.kind is not Kind.PACK else None
        stored.append(_stored(path, kind, network.embedding_dim))
    if entry.kind is Kind.PACK:
        for kind in (Kind.SCRFD, Kind.ARCFACE):
            if all(file.kind is not kind for file in stored):
                raise ModelUnfit(f"{', '.join(chosen)} holds no {kind} network: that is not a pack like {entry.name}")
    return tuple(stored)


def _require_loadable(copied: Path, kind: Kind, given: Source) -> None:
    """
    Args:
        copied: the file or folder of weights, in the store.
        given: where the user has it.

    Raises:
        ModelUnfit: it does not hold the weights of that network, all of them and no others.
    """
    # Imports torch, which only these need.
    from model.evaluation.measures.clip import TransformersClip
    from model.evaluation.measures.curricular_face import WeightsUnfit, load_curricular
    from model.evaluation.measures.inception import load_inception

    try:
        if kind is Kind.CLIP:
            TransformersClip.from_folder(copied, "cpu")
        elif kind is Kind.INCEPTION:
            load_inception(copied)
        else:
            load_curricular(copied)
    except WeightsUnfit as error:
        raise ModelUnfit(str(error).replace(str(copied), str(given))) from error


def _stored(path: Path, kind: Kind | None, embedding_dim: int | None = None) -> StoredFile:
    digest, size = sha256_file(path), path.stat().st_size
    return StoredFile(name=path.name, sha256=digest, size_bytes=size, kind=kind, embedding_dim=embedding_dim)


def _unchanged(store: ModelStore, name: str, chosen: Mapping[str, Source]) -> Record:
    """The record of a model that is there already, if it is the same one.

    Raises:
        ModelPresent: it is another one.
    """
    record = store.record(name)
    digests = {file.name: file.sha256 for file in record.files}
    for target, source in chosen.items():
        if digests.get(target) != _digest(source):
            raise ModelPresent(f"another version of {name} is in {store.folder(name)}: delete that folder to replace it")
    return record


def _digest(source: Source) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as stream:
        while chunk := stream.read(_COPY_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
