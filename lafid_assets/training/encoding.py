"""Planned files into shards: decoding in children, encoding here.

Belongs here: what is missing of a file, its clips through children and encoders, and writing it. Not here: what belongs into a
file (`shard_plan`), what a child does (`clip_pictures`), the rows that say what is cached (`latents`).

A file is written whole or not at all once all of its clips are through; which process writes it is all the same.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lafid_assets.faces.shard_limits import ShardLimits
from lafid_assets.ingest.clip_prefetch import map_footage
from lafid_assets.progress import track
from lafid_assets.training.cache_parts import Recipe
from lafid_assets.training.clip_pictures import Pictures, PictureTask, take_pictures
from lafid_assets.training.shard_plan import PlannedClip, PlannedFile, picture_task
from lafid_assets.workers.exit_reasons import Fault, fault_of
from lafid_assets.workers.pool import Children, Done
from model.clip_size import ClipSize
from model.clips.clip_list import SHARDS
from model.encoding.footage import footage_in, passed_s
from resources.cores import usable_cores
from resources.face_engine import model_store
from resources.gpu import processes_here
from resources.store.file_store import FileStore

if TYPE_CHECKING:
    from model.clips.latent_shards import Tensors
    from model.encoding.encoders import ClipEncoders

LOGGER = logging.getLogger("lafid.training")
LIMITS = ShardLimits(memory_limit_mib=8192)
"""A child's limits, as in curation but for its memory: a window of 81 frames in 4K takes 4 GiB while it is put together."""
FOLDER = "latents"
SHARDS_FOLDER = f"{FOLDER}/{SHARDS}"
"""A folder of the store that holds the files of all shards, a folder a shard."""
MOST_CHILDREN = 16
"""Several times as many as keep one GPU busy; each holds the frames of a clip."""


class LatentsUnwritten(OSError):
    """A disk does not take a file; the message names it and the remedy."""


@dataclass
class Cache:
    """What lies in a shard's folder, and which clips could not be encoded.

    Attributes:
        places: key of a part to the name of the file that holds it.
        faults: clip to why it is not whole.
    """

    store: FileStore
    places: dict[str, str]
    faults: dict[str, Fault] = field(default_factory=dict)
    written_bytes: int = 0


@dataclass
class _Open:
    """A file on its way.

    Attributes:
        wanted: keys of the parts that are to be made.
        waits_for: how many of its clips are still with a child.
    """

    planned: PlannedFile
    wanted: frozenset[str]
    waits_for: int = 0
    parts: "dict[str, Tensors]" = field(default_factory=dict)


def children_here() -> int:
    """Children that decode for one of the processes of this machine."""
    return max(1, min(MOST_CHILDREN, usable_cores() // processes_here()))


def read_cache(store: FileStore, shard: str) -> Cache:
    """The shard's folder as it lies in the store; torn files are told."""
    from model.clips.latent_shards import read_index

    index = read_index(store, SHARDS_FOLDER, shard)
    for name in index.torn:
        LOGGER.warning("shard %s is torn: what it held and is still needed is encoded again", name)
    return Cache(store, index.places)


def encode_files(
    files: Sequence[PlannedFile], size: ClipSize, encoders: "ClipEncoders", cache: Cache, label: str = "training_latents"
) -> None:
    """Make what is missing of these files, and note it in the cache.

    A clip that cannot be read, crashes its decoder or hangs in it costs no other clip anything.

    Args:
        files: of one shard.
        label: what is being done, for the lines that say how far it is.

    Raises:
        MaskUnusable: the network that cut the clips' heads out is not in the model store any more.
        LatentsUnwritten: the disk is full, or does not take a file.
    """
    opened = [_Open(planned, wanted) for planned in files if (wanted := planned.missing(cache.places))]
    tasks: list[PictureTask] = []
    owners: list[tuple[_Open, PlannedClip]] = []
    for file in opened:
        for clip in file.planned.clips:
            if (task := picture_task(clip, file.wanted, size)) is not None:
                tasks.append(task)
                owners.append((file, clip))
                file.waits_for += 1
    _require_masks(tasks)
    for file in opened:
        if not file.waits_for:
            _finish(file, encoders, cache)
    children = Children(children_here(), limits=LIMITS.of_child)
    endings = map_footage(take_pictures, tasks, _deadline_s, children, footage_of=lambda task: task.object)
    for index, ending in track(endings, label, len(tasks), lambda: f"{cache.written_bytes / 1e9:.2f} GB new"):
        file, clip = owners[index]
        shown = ending.value if isinstance(ending, Done) else fault_of(ending)
        if isinstance(shown, Fault):
            cache.faults[clip.row["clip_id"]] = shown
        else:
            file.parts |= _compute((one for one in clip.pictured.values() if one.needs), file, shown)
        file.waits_for -= 1
        if not file.waits_for:
            _finish(file, encoders, cache)


def _compute(recipes: Iterable[Recipe], file: _Open, shown: Pictures) -> "dict[str, Tensors]":
    """Those of the parts that the file still wants, by key; on the CPU."""
    wanted = file.wanted - file.parts.keys()
    return {one.key: {name: tensor.cpu() for name, tensor in one.compute(shown).items()} for one in recipes if one.key in wanted}


def _finish(file: _Open, encoders: "ClipEncoders", cache: Cache) -> None:
    """What needs no pictures, and the file. What a faulty clip lacks is missing in it.

    Raises:
        LatentsUnwritten: it cannot be written.
    """
    from safetensors import SafetensorError

    from model.clips.clip_parts import text_part
    from model.clips.latent_shards import shard_name, write_parts

    for clip in file.planned.clips:
        file.parts |= _compute((one for one in clip.pictured.values() if one.needs is None), file, Pictures(None, ()))
    told = {
        recipe.key: recipe.words for clip in file.planned.clips for recipe in clip.texts.values() if recipe.key in file.wanted
    }
    rows = encoders.texts(list(told.values())) if told else []
    file.parts |= {key: text_part(row.cpu()) for key, row in zip(told, rows, strict=True)}
    if file.parts:
        name = shard_name(file.planned.shard, file.parts)
        with cache.store.writing(f"{SHARDS_FOLDER}/{name}") as path:
            try:
                write_parts(path, file.parts)
            except SafetensorError as error:
                raise LatentsUnwritten(
                    f"{path.parent} takes no more latents ({error}): free space on that disk and run it again; what is written "
                    "is not made again"
                ) from error
        cache.places |= dict.fromkeys(file.parts, name)
        cache.written_bytes += sum(tensor.nbytes for part in file.parts.values() for tensor in part.values())
        file.parts = {}


def _deadline_s(task: PictureTask) -> float:
    passed = passed_s(footage_in(Path(task.file["path"]), task.file))
    return LIMITS.deadline_s(task.file["duration_s"]) + LIMITS.search_s_per_s * passed


def _require_masks(tasks: Sequence[PictureTask]) -> None:
    """Refuse a missing network once: it is a fault of the installation, not one of every clip."""
    from model.encoding.head_mask import mask_of

    for mask in {task.mask for task in tasks if "crops" in task.needs}:
        mask_of(mask, model_store())
