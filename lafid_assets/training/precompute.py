"""All shards of the dataset through the frozen encoders, by any number of processes on any number of machines.

Belongs here: which process takes what, and the line that says what is ahead. Not here: one shard (`latents`, `encoding`), the
rows that say what is cached (`training_latents`), the command (`cli.precompute`).

Processes share nothing but the store: each makes whole files that no other one makes, and what files there are is known from the
tables. So the result is that of one process, whoever is killed.
"""

import math
import shutil
import time
from collections import Counter
from dataclasses import dataclass

import polars as pl

from lafid_assets.schemas import LAFID_DATASET
from lafid_assets.training.encoding import SHARDS_FOLDER, children_here, encode_files, read_cache
from lafid_assets.training.latents import Encoding
from lafid_assets.training.precompute_estimate import bytes_in_words, decoding_core_s, forecast, span
from lafid_assets.training.shard_plan import PlannedFile, ShardPlan, plan_shard
from lafid_assets.training.training_latents import read_shard
from model.clip_size import Bucket, ClipSize
from model.presets import preset
from resources.lake.lake import Lake

_LOOKED_AT = 16
"""Shards by which is told how much is cached; where there are no more, it is no estimate."""
SHARDS_OF_A_RANK = 4
"""Where each process has at least so many shards, it takes them whole; fewer are shared out file by file."""


@dataclass(frozen=True)
class Rank:
    """One of several processes that share the work, numbered as torchrun numbers them."""

    number: int
    world: int


def dataset_shards(lake: Lake) -> list[str]:
    """Shards with clips in the dataset, sorted."""
    return lake.sql(f"SELECT DISTINCT shard FROM {LAFID_DATASET.name} ORDER BY shard")["shard"].to_list()


def expected(lake: Lake, encoding: Encoding, world: int) -> str:
    """In one line, what the dataset takes that is not cached yet; nothing is decoded for that.

    Raises:
        ValueError: no clip of the dataset is long enough for the preset.
    """
    sizes, core_s = _ahead(lake, encoding.chosen.clip)
    clips, left = sizes.total(), _share_left(lake, encoding)
    if not left:
        return f"{clips:,} clips, of which none is found that lacks a part"
    sizes = Counter({bucket: math.ceil(count * left) for bucket, count in sizes.items()})
    line = forecast(sizes, core_s * left, encoding.chosen, encoding.encoders).line(children_here(), world)
    if left < 1:
        line = f"about {1 - left:.0%} of {clips:,} clips are cached; {line}"
    if lake.store.is_local:
        line += f"; the disk of {lake.store.uri} has {shutil.disk_usage(lake.store.uri).free / 1e9:,.1f} GB free"
    return line


def expected_of_cluster(lake: Lake, name: str) -> str:
    """In one line, what all of the dataset takes for the preset of that name; no encoder is loaded for that.

    Raises:
        ValueError: no clip of the dataset is long enough for the preset.
    """
    chosen = preset(name)
    sizes, core_s = _ahead(lake, chosen.clip)
    return (
        f"{sizes.total():,} clips, about {bytes_in_words(sizes, chosen)} in all and {span(core_s)} of one core for decoding; "
        "what is cached is not made again, and each run says what it has to do"
    )


def encode_share(lake: Lake, encoding: Encoding, rank: Rank) -> None:
    """This process's files of all shards; those that are there are left alone.

    Raises:
        MaskUnusable: the network that cut the clips' heads out is not in the model store any more.
    """
    size = encoding.chosen.clip
    own, begin = _share(dataset_shards(lake), rank), time.monotonic()
    for done, (index, shard, is_whole) in enumerate(own):
        label = f"precompute: shard {done + 1} of {len(own)}"
        label += f" (all in about {span((time.monotonic() - begin) / done * (len(own) - done))})" if done else ""
        with lake.snapshot(all_cores=True) as reader:
            clips, faces = read_shard(reader, shard, size)
        plan = plan_shard(shard, clips, faces, encoding.chosen, encoding.encoders)
        files = plan.files if is_whole else files_of(plan, index, rank)
        encode_files(files, size, encoding.encoders, read_cache(lake.store, shard), label)


def files_of(plan: ShardPlan, number: int, rank: Rank) -> list[PlannedFile]:
    """Those of a shard's files that are one rank's. `number`: of the shard, so that not all shards begin with the same rank."""
    return [file for index, file in enumerate(plan.files, number) if index % rank.world == rank.number]


def _share(shards: list[str], rank: Rank) -> list[tuple[int, str, bool]]:
    """The shards in which something is this rank's: number, name, and whether all of it is."""
    is_whole = len(shards) >= SHARDS_OF_A_RANK * rank.world
    return [(index, shard, is_whole) for index, shard in enumerate(shards) if not is_whole or index % rank.world == rank.number]


def _ahead(lake: Lake, size: ClipSize) -> tuple[Counter[Bucket], float]:
    """How many clips of each size the dataset has, and the seconds of one core that decoding them takes."""
    sizes, core_s = _sizes(lake.read(LAFID_DATASET.name, columns=["duration_s", "height", "width"]), size)
    if not sizes:
        raise ValueError("the dataset has no clips that are long enough for the preset: curate more, or loosen the policies")
    return sizes, core_s


def _sizes(dataset: pl.DataFrame, size: ClipSize) -> tuple[Counter[Bucket], float]:
    sizes, core_s = Counter[Bucket](), 0.0
    for row in dataset.select("duration_s", "height", "width").iter_rows():
        if (bucket := size.bucket_for(*row)) is not None:
            sizes[bucket] += 1
            core_s += decoding_core_s(*row)
    return sizes, core_s


def _share_left(lake: Lake, encoding: Encoding) -> float:
    """Share of the clips that lack a part: of a few shards, evenly spread, for planning all of them takes half an hour."""
    if not lake.store.sizes(SHARDS_FOLDER):
        return 1.0
    shards, lacking, clips = dataset_shards(lake), 0, 0
    for shard in shards[:: math.ceil(len(shards) / _LOOKED_AT)]:
        with lake.snapshot(all_cores=True) as reader:
            rows, faces = read_shard(reader, shard, encoding.chosen.clip)
        planned = [clip for clip in plan_shard(shard, rows, faces, encoding.chosen, encoding.encoders).clips if clip.bucket]
        places = read_cache(lake.store, shard).places
        clips += len(planned)
        lacking += sum(not places.keys() >= {*clip.keys.values()} for clip in planned)
    return lacking / clips if clips else 1.0
