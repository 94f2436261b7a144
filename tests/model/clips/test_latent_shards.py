"""Shards: bounded, whole or not at all, and rewritten without what must go."""

from pathlib import Path

import pytest
import torch

from model.clips.latent_shards import ShardReader, ShardTorn, ShardWriter, drop_parts, keys_of, read_index


def part(value: float, count: int = 4) -> dict[str, torch.Tensor]:
    return {"rows": torch.full((count,), value), "more": torch.tensor([[value], [value + 1], [value + 2]])}


def test_parts_come_back_whole_or_by_row(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as shards:
        shards.add("a", part(1))
        shards.add("b", {"rows": torch.ones(2, dtype=torch.bfloat16)})
    reader = ShardReader(tmp_path)
    shard = shards.place("a")
    assert torch.equal(reader.read(shard, "a", "rows"), torch.ones(4))
    assert reader.read(shard, "a", "more", [2, 0]).tolist() == [[3.0], [1.0]]
    assert reader.holds(shard, "a", "more")
    assert not reader.holds(shard, "b", "more")
    assert reader.read(shard, "b", "rows").dtype == torch.bfloat16
    with pytest.raises(ShardTorn, match=f"{shard} is no readable shard"):
        reader.read(shard, "c", "rows")


def test_a_part_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        with ShardWriter(tmp_path) as shards:
            assert ("a" in shards) == (value == 2.0)
            shards.add("a", part(value))
            shards.add("a", part(value))
    (path,) = tmp_path.iterdir()
    assert torch.equal(ShardReader(tmp_path).read(path.name, "a", "rows"), torch.ones(4))


@pytest.mark.parametrize("bound", [{"most_bytes": 56}, {"most_parts": 2}, {"most_seconds": 0.0}])
def test_a_shard_is_closed_at_its_bound_and_a_kill_loses_the_open_one(tmp_path: Path, bound: dict[str, float]) -> None:
    shards = ShardWriter(tmp_path, **bound)
    for number in range(5):
        shards.add(str(number), part(float(number)))
    written = set(read_index(tmp_path).places)
    assert written == ({"0", "1", "2", "3"} if "most_seconds" not in bound else set("01234"))
    with ShardWriter(tmp_path) as again:
        assert [str(number) in again for number in range(5)] == [str(number) in written for number in range(5)]


def test_an_error_closes_the_open_shard(tmp_path: Path) -> None:
    def fail() -> None:
        with ShardWriter(tmp_path) as shards:
            shards.add("a", part(1))
            raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        fail()
    assert set(read_index(tmp_path).places) == {"a"}


def test_a_torn_shard_is_told_and_its_parts_are_written_anew_under_its_name(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as shards:
        shards.add("a", part(1))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert read_index(tmp_path).torn == (path.name,)
    with pytest.raises(ShardTorn, match=f"{path.name} is no readable shard.*materialize training_latents again"):
        keys_of(path)
    with ShardWriter(tmp_path) as again:
        assert again.torn == (path.name,)
        again.add("a", part(1))
    assert again.place("a") == path.name
    assert read_index(tmp_path).torn == ()


def test_a_shard_without_some_parts_keeps_its_name_and_one_without_all_goes(tmp_path: Path) -> None:
    with ShardWriter(tmp_path, most_parts=2) as shards:
        for name in "abcd":
            shards.add(name, part(ord(name)))
    mixed, whole = shards.place("a"), shards.place("c")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert drop_parts(tmp_path, lambda key: key == "x") == {}
    would = drop_parts(tmp_path, lambda key: key != "b", dry_run=True)
    assert {path.name: path.stat().st_size for path in tmp_path.iterdir()} == sizes
    assert drop_parts(tmp_path, lambda key: key != "b") == would
    assert would[whole] == sizes[whole]
    assert [path.name for path in tmp_path.iterdir()] == [mixed]
    assert read_index(tmp_path).places == {"b": mixed}
    assert torch.equal(ShardReader(tmp_path).read(mixed, "b", "rows"), torch.full((4,), float(ord("b"))))


def test_what_a_kill_left_half_written_is_no_shard(tmp_path: Path) -> None:
    (tmp_path / f".x.{'0' * 32}.safetensors").write_bytes(b"half")
    assert read_index(tmp_path).torn == ()
