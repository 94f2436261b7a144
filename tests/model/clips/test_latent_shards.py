"""Shards: whole or not at all, named after what they hold, and rewritten without what must go."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.clips.latent_shards import (
    ShardIndex,
    ShardReader,
    ShardTorn,
    drop_parts,
    part_bytes_in,
    shard_name,
    write_parts,
)
from model.clips.latent_shards import read_index as index_of
from resources.store.file_store import FileStore
from tests.model.cached_clips import write_shard


def part(value: float, count: int = 4) -> dict[str, torch.Tensor]:
    return {"rows": torch.full((count,), value), "more": torch.tensor([[value], [value + 1], [value + 2]])}


def read_index(root: Path, folder: str = "") -> ShardIndex:
    return index_of(FileStore(str(root.parent)), root.name, folder)


def drop(root: Path, unwanted: Callable[[str], bool], *, dry_run: bool = False) -> dict[str, int]:
    freed = drop_parts(FileStore(str(root.parent)), root.name, unwanted, dry_run=dry_run)
    return {path.removeprefix(f"{root.name}/"): size for path, size in freed.items()}


def test_parts_come_back_whole_or_by_row(tmp_path: Path) -> None:
    shard = write_shard(tmp_path, "one", {"a": part(1), "b": {"rows": torch.ones(2, dtype=torch.bfloat16)}})
    reader = ShardReader(tmp_path)
    assert torch.equal(reader.read(shard, "a", "rows"), torch.ones(4))
    assert reader.read(shard, "a", "more", [2, 0]).tolist() == [[3.0], [1.0]]
    assert reader.holds(shard, "a", "more")
    assert not reader.holds(shard, "b", "more")
    assert reader.read(shard, "b", "rows").dtype == torch.bfloat16
    with pytest.raises(ShardTorn, match=f"{shard} is no readable shard"):
        reader.read(shard, "c", "rows")


def test_equal_parts_make_equal_files_in_any_order(tmp_path: Path) -> None:
    parts = {name: part(ord(name)) for name in "abc"}
    first = write_shard(tmp_path / "one", "", parts)
    second = write_shard(tmp_path / "two", "", dict(reversed(parts.items())))
    assert first == second
    assert (tmp_path / "one" / first).read_bytes() == (tmp_path / "two" / second).read_bytes()
    assert write_shard(tmp_path / "one", "", parts | {"d": part(0)}) != first


def test_an_index_is_of_a_folder_or_of_all(tmp_path: Path) -> None:
    one, two = (write_shard(tmp_path, folder, {folder: part(1)}) for folder in ("one", "two"))
    assert (one.split("/")[0], two.split("/")[0]) == ("one", "two")
    assert read_index(tmp_path, "one").places == {"one": one}
    assert read_index(tmp_path).places == {"one": one, "two": two}
    assert read_index(tmp_path, "three").places == {}


def test_a_torn_shard_is_told_and_written_anew_under_its_name(tmp_path: Path) -> None:
    name = write_shard(tmp_path, "one", {"a": part(1)})
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:-3])
    assert read_index(tmp_path).torn == (name,)
    size = path.stat().st_size
    with (
        path.open("rb") as file,
        pytest.raises(
            ShardTorn, match=f"one is no readable shard.*{size} bytes, its header tells of .*materialize training_latents"
        ),
    ):
        part_bytes_in(file, size, "one")
    assert write_shard(tmp_path, "one", {"a": part(1)}) == name
    assert read_index(tmp_path).torn == ()


@pytest.mark.parametrize(
    "torn", [b"", b"1234567", b"\xff" * 8, (2).to_bytes(8, "little") + b"[]", (2).to_bytes(8, "little") + b"{"]
)
def test_what_has_no_header_is_torn(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "torn.safetensors").write_bytes(torn)
    assert read_index(tmp_path).torn == ("torn.safetensors",)


def test_a_long_header_is_read_whole(tmp_path: Path) -> None:
    name = write_shard(tmp_path, "", {f"{number:064}": part(1) for number in range(2000)})
    assert (tmp_path / name).stat().st_size > 300 << 10
    assert len(read_index(tmp_path).places) == 2000


def test_a_shard_without_some_parts_keeps_its_name_and_one_without_all_goes(tmp_path: Path) -> None:
    mixed, whole = (write_shard(tmp_path, "one", {name: part(ord(name)) for name in names}) for names in ("ab", "cd"))
    half = tmp_path / "one" / f".x.{'0' * 32}.safetensors"
    half.write_bytes(b"half")
    assert read_index(tmp_path).torn == (), "what a kill left half written is no shard"
    sizes = {path.relative_to(tmp_path).as_posix(): path.stat().st_size for path in tmp_path.rglob("*.safetensors")}
    would = drop(tmp_path, lambda key: key != "b", dry_run=True)
    assert {name: (tmp_path / name).stat().st_size for name in sizes} == sizes
    assert drop(tmp_path, lambda key: key != "b") == would
    assert (would[whole], would[f"one/{half.name}"]) == (sizes[whole], 4)
    assert [path.name for path in (tmp_path / "one").iterdir()] == [Path(mixed).name]
    assert read_index(tmp_path).places == {"b": mixed}
    assert torch.equal(ShardReader(tmp_path).read(mixed, "b", "rows"), torch.full((4,), float(ord("b"))))
    assert drop(tmp_path, lambda key: key == "x") == {}


def test_shards_on_s3_are_looked_into_and_shrink_where_they_lie(bucket: str, tmp_path: Path) -> None:
    one, two = (FileStore(f"s3://{bucket}/lafid", tmp_path / node) for node in ("one", "two"))
    mixed, whole = (shard_name("one", names) for names in ({"a": part(1), "b": part(2)}, {"c": part(3)}))
    for name, parts in ((mixed, {"a": part(1), "b": part(2)}), (whole, {"c": part(3)})):
        with one.writing(f"latents/shards/{name}") as path:
            write_parts(path, parts)
    assert index_of(two, "latents/shards", "one").places == {"a": mixed, "b": mixed, "c": whole}
    assert not two.here("latents/shards/one").exists(), "no more than headers is fetched"
    assert drop_parts(two, "latents/shards", lambda key: key != "b", dry_run=True).keys() == {
        f"latents/shards/{mixed}",
        f"latents/shards/{whole}",
    }
    drop_parts(two, "latents/shards", lambda key: key != "b")
    assert index_of(one, "latents/shards").places == {"b": mixed}
    assert torch.equal(ShardReader(one.fetch("latents/shards")).read(mixed, "b", "rows"), torch.full((4,), 2.0))
