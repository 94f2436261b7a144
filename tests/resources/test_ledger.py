"""Parts of an unfinished partition: whole or not at all, found again, never mixed with those of other settings."""

import logging
import threading
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest

from resources.ledger import Ledger


def _frames(*names: str) -> dict[str, pl.DataFrame]:
    return {
        "clips": pl.DataFrame({"clip_id": names}),
        "faces": pl.DataFrame({"clip_id": names, "embedding": [[0.5]] * len(names)}),
    }


def _clips(ledger: Ledger) -> list[list[str]]:
    return [part["clips"]["clip_id"].to_list() for part in ledger.read()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "face_info" / "shard-00000"


def test_what_was_added_is_read_back_by_any_later_run(folder: Path) -> None:
    with Ledger(folder, "f", seconds_per_part=0).writing() as parts:
        parts.add(_frames("a"))
        parts.add(_frames("b", "c"))
    with Ledger(folder, "f").writing() as parts:
        parts.add(_frames("d"))
    found = Ledger(folder, "f").read()
    assert _clips(Ledger(folder, "f")) == [["a"], ["b", "c"], ["d"]]
    assert found[1]["faces"].equals(_frames("b", "c")["faces"])


def test_quick_clips_share_a_part(folder: Path) -> None:
    with Ledger(folder, "f", seconds_per_part=3600).writing() as parts:
        for name in "abc":
            parts.add(_frames(name))
        assert Ledger(folder, "f").read() == []
    assert _clips(Ledger(folder, "f")) == [["a", "b", "c"]]


def test_run_that_is_interrupted_keeps_what_it_gathered(folder: Path) -> None:
    with suppress(KeyboardInterrupt), Ledger(folder, "f", seconds_per_part=3600).writing() as parts:
        parts.add(_frames("a"))
        raise KeyboardInterrupt
    assert _clips(Ledger(folder, "f")) == [["a"]]


def test_parts_stay_in_order_beyond_nine(folder: Path) -> None:
    names = [f"{number:02d}" for number in range(12)]
    with Ledger(folder, "f", seconds_per_part=0).writing() as parts:
        for name in names:
            parts.add(_frames(name))
    assert [clips for [clips] in _clips(Ledger(folder, "f"))] == names


def test_other_fingerprints_are_not_seen(folder: Path) -> None:
    with Ledger(folder, "f").writing() as parts:
        parts.add(_frames("a"))
    assert Ledger(folder, "g").read() == []


def test_part_that_was_being_written_does_not_count(folder: Path) -> None:
    with Ledger(folder, "f").writing() as parts:
        parts.add(_frames("a"))
    (folder / "f" / "0").rename(folder / "f" / ".1.0123456789abcdef")
    assert Ledger(folder, "f").read() == []


def test_damaged_part_is_reported_and_removed(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Ledger(folder, "f", seconds_per_part=0).writing() as parts:
        parts.add(_frames("a"))
        parts.add(_frames("b"))
    (folder / "f" / "0" / "faces.parquet").write_bytes(b"no parquet")
    with caplog.at_level(logging.WARNING, "lafid.ledger"):
        assert _clips(Ledger(folder, "f")) == [["b"]]
    assert "computed again" in caplog.text
    assert not (folder / "f" / "0").exists()


def test_clearing_forgets_all_settings_and_may_be_repeated(folder: Path) -> None:
    for fingerprint in "fg":
        with Ledger(folder, fingerprint).writing() as parts:
            parts.add(_frames("a"))
    Ledger(folder, "f").clear()
    assert not folder.exists()
    Ledger(folder, "f").clear()
    assert Ledger(folder, "f").read() == []


def test_a_second_run_of_a_partition_waits_for_the_first(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    order: list[str] = []

    def second() -> None:
        with Ledger(folder, "other settings").held():
            order.append("second")

    waiting = threading.Thread(target=second)
    with caplog.at_level(logging.WARNING, "lafid.ledger"), Ledger(folder, "f").held():
        waiting.start()
        while "waiting for it" not in caplog.text and waiting.is_alive():
            time.sleep(0.01)
        order.append("first")
        Ledger(folder, "f").clear()
    waiting.join()
    assert order == ["first", "second"]
    assert "another run computes shard-00000" in caplog.text


def test_every_partition_has_its_own_lock(folder: Path) -> None:
    for shard in ("shard-00000", "shard-00001"):
        with Ledger(folder.with_name(shard), "f").held():
            assert (folder.parent / f"{shard}.lock").is_file()
