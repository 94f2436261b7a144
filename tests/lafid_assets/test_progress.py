"""Progress lines."""

import logging

import pytest

from lafid_assets import progress
from lafid_assets.progress import track


def test_last_item_always_gets_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lafid"):
        assert list(track([1, 2, 3], "counting")) == [1, 2, 3]
    assert [record.message for record in caplog.records] == ["counting: 3 of 3, about 0 s left"]


def test_lines_come_in_between_when_it_takes_long(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with caplog.at_level(logging.INFO, logger="lafid"):
        assert list(track(iter("abc"), "reading", total=3)) == ["a", "b", "c"]
    assert [record.message for record in caplog.records] == [
        "reading: 1 of 3, about 20 s left",
        "reading: 2 of 3, about 10 s left",
        "reading: 3 of 3, about 0 s left",
    ]


def test_nothing_to_do_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    assert list(track([], "nothing")) == []
    assert not caplog.records
