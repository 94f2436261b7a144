"""Shards: whole or not at all, named after what they hold, and rewritten without what must go."""

from pathlib import Path

import pytest
import torch

from model.clips.latent_shards import ShardReader, ShardTorn, drop_parts, keys_of, read_index, write_shard


def part(value: float, count: int = 4) -> dict[str, torch.Tensor]:
    return {"rows": torch.full((count,), value), "more": torch.tensor([[value], [value + 1], [value + 2]])}


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
    with pytest.raises(ShardTorn, match=f"{path.name} is no readable shard.*materialize training_latents again"):
        keys_of(path)
    assert write_shard(tmp_path, "one", {"a": part(1)}) == name
    assert read_index(tmp_path).torn == ()


def test_a_shard_without_some_parts_keeps_its_name_and_one_without_all_goes(tmp_path: Path) -> None:
    mixed, whole = (write_shard(tmp_path, "one", {name: part(ord(name)) for name in names}) for names in ("ab", "cd"))
    half = tmp_path / "one" / f".x.{'0' * 32}.safetensors"
    half.write_bytes(b"half")
    assert read_index(tmp_path).torn == (), "what a kill left half written is no shard"
    sizes = {path.relative_to(tmp_path).as_posix(): path.stat().st_size for path in tmp_path.rglob("*.safetensors")}
    would = drop_parts(tmp_path, lambda key: key != "b", dry_run=True)
    assert {name: (tmp_path / name).stat().st_size for name in sizes} == sizes
    assert drop_parts(tmp_path, lambda key: key != "b") == would
    assert (would[whole], would[f"one/{half.name}"]) == (sizes[whole], 4)
    assert [path.name for path in (tmp_path / "one").iterdir()] == [Path(mixed).name]
    assert read_index(tmp_path).places == {"b": mixed}
    assert torch.equal(ShardReader(tmp_path).read(mixed, "b", "rows"), torch.full((4,), float(ord("b"))))
    assert drop_parts(tmp_path, lambda key: key == "x") == {}
