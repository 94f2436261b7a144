"""A fetched snapshot held against what it says of itself: its indexes, the headers of its files, the record of its download.

Belongs here: whether every file is there and whole, and of which commit. Not here: whether it is the base that a preset wants
(`adopt`), loading (`components`).

What `hf download --local-dir` leaves beside each file, in `.cache/huggingface/download/PATH.metadata`, is three lines: the
commit, the file's etag (sha256 of what lies in Git LFS, git's blob hash of everything else), the time.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from model.bases.components import BaseError
from model.wording import first_few

MODEL_INDEX = "model_index.json"
COMMIT = re.compile(r"[0-9a-f]{40}")
_RECORDS = Path(".cache", "huggingface", "download")
_INDEX = ".safetensors.index.json"
_POINTER = b"version https://git-lfs.github.com/spec/"
_STEMS = {"text_encoder": "model", "image_encoder": "model"}
_NETWORKS = ("transformer", "transformer_2", "vae", "text_encoder", "image_encoder")
_NEEDED = {
    "tokenizer": ("tokenizer_config.json", "tokenizer.json"),
    "scheduler": ("scheduler_config.json",),
    "image_processor": ("preprocessor_config.json",),
}


class Recorded(NamedTuple):
    """What the download wrote down of one file."""

    commit: str
    etag: str


def check_whole(snapshot: Path, parts: Iterable[str], fetch: str) -> None:
    """Passes a snapshot of which every file of these parts is there and whole.

    Args:
        snapshot: its folder.
        parts: the components that it must hold.
        fetch: the commands that bring what is missing, for the message.

    Raises:
        BaseError: a file is missing, a link or a Git LFS pointer in its place, torn, or another than its index says; all such are
            named.
    """
    parts = list(parts)
    files = [snapshot / MODEL_INDEX, *(path for part in parts for path in _files_of(snapshot / part))]
    missing = [path for path in files if not path.is_file()]
    if missing:
        raise BaseError(f"{snapshot} lacks {_paths(missing, snapshot)}: {fetch}")
    present = [path for part in parts for path in sorted((snapshot / part).rglob("*")) if path.is_file()]
    links = [path for path in (*present, snapshot / MODEL_INDEX) if path.is_symlink()]
    if links:
        raise BaseError(
            f"{snapshot} holds links in place of {_paths(links, snapshot)}, as Hugging Face's cache does, which may be cleared: "
            f"remove them, then {fetch} (hf copies from its cache what lies there)"
        )
    pointers = [path for path in (*present, snapshot / MODEL_INDEX) if _is_pointer(path)]
    if pointers:
        raise BaseError(
            f"{snapshot} holds pointers of Git LFS in place of {_paths(pointers, snapshot)}: remove them, then {fetch}"
        )
    torn = [path for path in present if path.suffix == ".safetensors" and _names_in(path) is None]
    torn += [path for path in (*present, snapshot / MODEL_INDEX) if path.suffix == ".json" and not _is_whole_json(path)]
    if torn:
        raise BaseError(f"{snapshot} holds only a part of {_paths(torn, snapshot)}, or something else: remove them, then {fetch}")
    for part in parts:
        for index in _indexes(snapshot / part):
            _check_index(index, fetch)


def recorded(snapshot: Path, paths: Iterable[str]) -> dict[str, Recorded]:
    """Path to what the download recorded of it, of those files of which it recorded something."""
    found = {}
    for path in paths:
        record = snapshot / _RECORDS / f"{path}.metadata"
        if record.is_file():
            commit, etag, *_ = [*record.read_text(errors="replace").split("\n"), "", ""]
            if COMMIT.fullmatch(commit):
                found[path] = Recorded(commit, etag)
    return found


def is_as_recorded(path: Path, sha256: str, etag: str) -> bool | None:
    """Whether a file's bytes are those that were downloaded; None: the etag is of neither kind that Hugging Face gives."""
    if re.fullmatch(r"[0-9a-f]{64}", etag):
        return sha256 == etag
    if not COMMIT.fullmatch(etag):
        return None
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == etag


def _files_of(part: Path) -> Iterator[Path]:
    """What a component is made of, as its own indexes say."""
    yield from (part / name for name in _NEEDED.get(part.name, ()))
    if part.name not in _NETWORKS:
        return
    yield part / "config.json"
    whole = part / f"{_STEMS.get(part.name, 'diffusion_pytorch_model')}.safetensors"
    index = part / f"{whole.name}.index.json"
    if index.is_file():
        # Of an index that is torn itself nothing can be missing yet.
        shards = _weight_map(index).values() if _is_whole_json(index) else ()
        yield from (part / shard for shard in sorted(set(shards)))
    elif not whole.is_file() and any(part.glob(f"{whole.stem}-*.safetensors")):
        yield index
    else:
        yield whole


def _indexes(part: Path) -> list[Path]:
    return sorted(part.glob(f"*{_INDEX}"))


def _check_index(index: Path, fetch: str) -> None:
    """The names in the shards' headers are those that the index gives each of them."""
    whole = index.with_name(index.name.removesuffix(".index.json"))
    if whole.is_file():
        raise BaseError(
            f"{index.parent} holds {whole.name} beside the index of its shards: remove the older of the two, then {fetch}"
        )
    shards: dict[str, set[str]] = {}
    for name, shard in _weight_map(index).items():
        shards.setdefault(shard, set()).add(name)
    if lacking := [shard for shard in sorted(shards) if not (index.parent / shard).is_file()]:
        raise BaseError(f"{index} names {first_few(lacking)}, which is not there: remove that index, then {fetch}")
    for shard, promised in sorted(shards.items()):
        held = _names_in(index.parent / shard) or set()
        if held != promised:
            name = min(held ^ promised)
            fault = "lacks" if name in promised else "holds beside what its index names"
            raise BaseError(f"{index.parent / shard} {fault} {name}: it is of another download; remove it, then {fetch}")


def _names_in(path: Path) -> set[str] | None:
    """The tensors of a safetensors file; None where it is not whole.

    Eight bytes say how long the header is, the header says where each tensor lies, and the file ends with the last of them.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > size - 8:
            return None
        try:
            header = json.loads(stream.read(length))
            ends = {name: int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"}
        except (ValueError, AttributeError, LookupError, TypeError):
            return None
    return set(ends) if size == 8 + length + max(ends.values(), default=0) else None


def _is_pointer(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_POINTER)) == _POINTER


def _is_whole_json(path: Path) -> bool:
    """Whether it is an object, as all of a snapshot's are; and an index names a file beside it for every tensor."""
    try:
        told = json.loads(path.read_text())
    except ValueError:
        return False
    if not isinstance(told, dict) or not path.name.endswith(_INDEX):
        return isinstance(told, dict)
    shards = told.get("weight_map")
    return isinstance(shards, dict) and all(isinstance(name, str) and Path(name).name == name for name in shards.values())


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor to the shard that holds it, of an index that is whole."""
    return dict(json.loads(index.read_text())["weight_map"])


def _paths(paths: Iterable[Path], snapshot: Path) -> str:
    return first_few((path.relative_to(snapshot).as_posix() for path in paths), 5)
