"""Any number of processes, killed at any moments, make what one makes that nobody disturbs."""

import hashlib
import multiprocessing as mp
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest

from lafid_assets.schemas import LAFID_DATASET
from lafid_assets.training import shard_plan
from lafid_assets.training.base import base_folder
from lafid_assets.training.encoding import SHARDS_FOLDER, LatentsUnwritten, encode_files, read_cache
from lafid_assets.training.latents import Encoding, load_encoding
from lafid_assets.training.precompute import Rank, _share, _sizes, expected, expected_of_cluster, files_of
from lafid_assets.training.precompute_estimate import Forecast, decoding_core_s, forecast
from lafid_assets.training.shard_plan import ShardPlan, plan_shard
from model.bases.base import read_base_info
from model.clip_size import Bucket, ClipSize
from model.clips.clip_bytes import part_bytes
from model.presets import PRESETS, preset
from resources.lake.lake import Lake
from resources.store.file_store import FileStore
from tests.lafid_assets.training.encoded import SHARD

CLIPS = "abcd"
FORK = mp.get_context("fork")


@pytest.fixture
def encoding(store: FileStore) -> Encoding:
    chosen = preset("tiny").model_copy(update={"clip": ClipSize(frames=9, height=16, width=16)})
    return load_encoding(chosen, base_folder("tiny", store))


@pytest.fixture
def plan(
    encoding: Encoding,
    dataset: pl.DataFrame,
    faces: pl.DataFrame,
    write_video: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> ShardPlan:
    """Four clips, a file each; each caption is of two."""
    monkeypatch.setattr(shard_plan, "FILE_BYTES", 1)
    first, rows, measured = dataset.row(0, named=True), [], []
    of_first = faces.filter(pl.col("clip_id") == "a")
    for number, clip in enumerate(CLIPS):
        noise = np.random.default_rng(number).integers(0, 256, (12, 64, 64, 3), np.uint8)
        content = hashlib.sha256(write_video(tmp_path / "footage" / clip, pictures=noise).read_bytes()).hexdigest()
        told = {"refined_caption": f"Person {number // 2}.", "content_sha256": content}
        rows.append(first | {"clip_id": clip, "path": clip} | told)
        measured.append(of_first.with_columns(clip_id=pl.lit(clip)))
    clips = LAFID_DATASET.frame(pl.DataFrame(rows, schema=dataset.schema))
    return plan_shard(SHARD, clips, pl.concat(measured), encoding.chosen, encoding.encoders)


def _tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("[!.]*.safetensors")}


def _encode(plan: ShardPlan, encoding: Encoding, root: Path, rank: Rank) -> None:
    cache = read_cache(FileStore(str(root)), SHARD)
    encode_files(files_of(plan, 0, rank), encoding.chosen.clip, encoding.encoders, cache)


def _encode_until_killed(plan: ShardPlan, encoding: Encoding, root: Path, rank: Rank, moments: int) -> None:
    """Killed at the last of so many moments: before a video is encoded, and before a written file gets its name."""
    left, video, replace = moments, encoding.encoders.video, os.replace

    def or_die(go: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return go(*arguments)

    with (
        mock.patch.object(type(encoding.encoders), "video", lambda _, frames: or_die(video, frames)),
        mock.patch("os.replace", lambda *paths: or_die(replace, *paths)),
    ):
        _encode(plan, encoding, root, rank)


def test_processes_that_are_killed_make_the_same_files_as_one(plan: ShardPlan, encoding: Encoding, tmp_path: Path) -> None:
    _encode(plan, encoding, tmp_path / "alone", Rank(0, 1))
    alone = _tree(tmp_path / "alone")
    assert len(alone) == len(CLIPS)
    root = tmp_path / "three"
    for moments in (1, 2, 3, 0):
        ranks = [
            FORK.Process(target=_encode_until_killed, args=(plan, encoding, root, Rank(number, 3), moments))
            for number in range(3)
        ]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join()
        ended = {process.exitcode for process in ranks}
        assert -signal.SIGKILL in ended if moments else ended == {0}
    assert _tree(root) == alone


def test_a_full_disk_is_one_line_and_what_is_written_stays(plan: ShardPlan, encoding: Encoding, tmp_path: Path) -> None:
    """The kernel refuses to let a file grow."""
    root, size = tmp_path / "cache", encoding.chosen.clip
    first, *_ = plan.files
    encode_files([first], size, encoding.encoders, read_cache(FileStore(str(root)), SHARD))
    written = _tree(root)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, before[1]))
    try:
        with pytest.raises(LatentsUnwritten, match=rf"{root}/{SHARDS_FOLDER}/{SHARD} takes no more .*: free space on that disk"):
            _encode(plan, encoding, root, Rank(0, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert _tree(root) == written
    assert [path.name for path in root.rglob(".*")] == [], "and nothing half written"
    _encode(plan, encoding, root, Rank(0, 1))
    assert written.items() < _tree(root).items()
    assert len(_tree(root)) == len(CLIPS)


@pytest.mark.parametrize(("shards", "world"), [(3, 4), (40, 4)], ids=["file by file", "whole"])
def test_every_file_is_one_ranks(plan: ShardPlan, shards: int, world: int) -> None:
    names = [f"shard-{number}" for number in range(shards)]
    taken: list[tuple[int, str]] = []
    for rank in (Rank(number, world) for number in range(world)):
        for index, _, is_whole in _share(names, rank):
            files = plan.files if is_whole else files_of(plan, index, rank)
            taken += [(index, file.clips[0].row["clip_id"]) for file in files]
    assert sorted(taken) == [(index, clip) for index in range(shards) for clip in CLIPS]


def test_a_text_is_encoded_once_a_shard_whoever_says_it(plan: ShardPlan) -> None:
    texts = [recipe.key for clip in plan.clips for recipe in clip.texts.values()]
    assert (len(texts), len(set(texts))) == (8, 3), "two captions and no words"
    owned = [key for file in plan.files for key in file.owned if key in texts]
    assert sorted(owned) == sorted(set(texts))


def test_what_is_ahead_is_told_in_one_line(encoding: Encoding, dataset: pl.DataFrame) -> None:
    sizes, core_s = _sizes(dataset, encoding.chosen.clip)
    assert sizes == {Bucket(9, 16, 16): 2}, "the third is too short"
    told = forecast(sizes, core_s, encoding.chosen, encoding.encoders)
    size = sum(part_bytes(encoding.chosen, Bucket(9, 16, 16), 5).values())
    with_a_view_less = sum(part_bytes(encoding.chosen, Bucket(9, 16, 16), 4).values())
    assert (told.clips, told.bytes, told.view_bytes) == (2, 2 * size, 2 * (size - with_a_view_less))
    assert told.seconds == pytest.approx(2 * told.measured[1])
    slow = Forecast(14_400, 10**12, 10**10, 6 * 3600.0, 9 * 3600.0, (Bucket(9, 16, 16), 1.5), "the CPU")
    assert slow.line(8, 2) == (
        "14,400 clips to encode, about 1,000.0 GB (one view less of each face saves 10.0 GB), about 3.0 h: encoding 3.0 h on the "
        "CPU by 2 processes (a black clip of 9 x 16 x 16 took 1.50 s), beside it decoding 34 min on 16 cores"
    )
    assert "about 4.5 h: encoding 3.0 h" in slow.line(1, 2), "where cores are few, decoding decides"
    assert decoding_core_s(6, 1080, 1920) == decoding_core_s(600, 1080, 1920) == pytest.approx(5.8)


def test_what_is_cached_is_not_ahead_any_more(
    plan: ShardPlan, encoding: Encoding, faces: pl.DataFrame, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pl.DataFrame([clip.row for clip in plan.clips], schema=LAFID_DATASET.frame([]).schema).with_columns(
        shard=pl.lit(SHARD)
    )
    lake.put({LAFID_DATASET.name: rows}, "all", "f")
    measured = pl.concat([faces.filter(pl.col("clip_id") == "a").with_columns(clip_id=pl.lit(clip)) for clip in CLIPS])
    monkeypatch.setattr("lafid_assets.training.precompute.read_shard", lambda *_: (rows, measured))
    assert expected(lake, encoding, 1).startswith("4 clips to encode, ")
    cache, size = read_cache(lake.store, SHARD), encoding.chosen.clip
    encode_files(plan.files[:3], size, encoding.encoders, cache)
    assert expected(lake, encoding, 1).startswith("about 75% of 4 clips are cached; 1 clips to encode, ")
    encode_files(plan.files, size, encoding.encoders, read_cache(lake.store, SHARD))
    assert expected(lake, encoding, 1) == "4 clips, of which none is found that lacks a part"
    assert expected_of_cluster(lake, "tiny").startswith("4 clips, about ")


def test_bytes_are_told_as_they_are_written(plan: ShardPlan, encoding: Encoding, tmp_path: Path) -> None:
    """But for texts, whose length is guessed, and for the spread, which this codec has none of."""
    from safetensors import safe_open

    from model.clips.latent_shards import part_bytes_in

    first = plan.files[0]
    encode_files([first], encoding.chosen.clip, encoding.encoders, read_cache(FileStore(str(tmp_path / "cache")), SHARD))
    (path,) = (tmp_path / "cache").rglob("*.safetensors")
    with path.open("rb") as header:
        in_header = part_bytes_in(header, path.stat().st_size, path.name)
    assert in_header.keys() == first.owned
    with safe_open(path, framework="pt") as file:
        written = {name.partition("/")[0]: 0 for name in file.keys()}  # noqa: SIM118
        for name in file.keys():  # noqa: SIM118
            written[name.partition("/")[0]] += file.get_tensor(name).nbytes
    told = part_bytes(encoding.chosen, Bucket(9, 16, 16), 3)
    keys = first.clips[0].keys
    assert in_header == written
    assert {part: written[keys[part]] for part in ("semantic", "detail", "views")} == {
        part: told[part] for part in ("semantic", "detail", "views")
    }
    assert written[keys["video"]] == told["video"] * 4 / 6


@pytest.mark.parametrize(("name", "megabytes"), [("wan2.1-t2v-1.3b", 19.2), ("wan2.1-i2v-14b", 24.0), ("wan2.2-ti2v-5b", 27.1)])
def test_a_real_clip_takes_what_the_docs_say(name: str, megabytes: float) -> None:
    chosen = PRESETS[name]
    size = sum(part_bytes(chosen, chosen.clip.bucket, chosen.clip.views + 1).values())
    assert size / 1e6 == pytest.approx(megabytes, abs=0.05)


def test_nodes_encode_into_one_store_and_another_node_reads_it(
    plan: ShardPlan, encoding: Encoding, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _encode(plan, encoding, tmp_path / "alone", Rank(0, 1))
    nodes = [FileStore(f"s3://{bucket}/lafid", tmp_path / f"node {number}") for number in range(3)]
    for number, store in enumerate(nodes[:2]):
        encode_files(files_of(plan, 0, Rank(number, 2)), encoding.chosen.clip, encoding.encoders, read_cache(store, SHARD))
        assert not store.here(SHARDS_FOLDER).exists(), "what is encoded does not stay on the node"
    trainer = nodes[2]
    cache = read_cache(trainer, SHARD)
    assert cache.places.keys() == {key for file in plan.files for key in file.owned}
    monkeypatch.setattr(type(encoding.encoders), "video", None)
    encode_files(plan.files, encoding.chosen.clip, encoding.encoders, cache)
    assert cache.written_bytes == 0
    assert _tree(trainer.fetch(SHARDS_FOLDER)) == _tree(tmp_path / "alone" / SHARDS_FOLDER)


def test_base_is_built_once_for_all_nodes(bucket: str, tmp_path: Path) -> None:
    one, two = (FileStore(f"s3://{bucket}/lafid", tmp_path / node) for node in ("one", "two"))
    built = base_folder("tiny", one)
    with mock.patch("model.bases.build.build_tiny_base", None):
        fetched = base_folder("tiny", two)
    assert fetched != built
    assert load_encoding(preset("tiny"), fetched).encoders.base.info == read_base_info(built)
    assert one.list_files("bases/tiny") == ["base.json"], "digests are of one machine's files"
