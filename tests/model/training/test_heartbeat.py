"""Who is gone is named, who lives is not, and a process that cannot end by itself is ended."""

import logging
import threading
from collections.abc import Callable
from contextlib import nullcontext

import pytest

import model.training.heartbeat
from model.training.heartbeat import EndedTogether, Heartbeat, RankLost


class Place(dict[str, str]):
    """A store in this process."""

    def set(self, key: str, value: str) -> None:
        self[key] = value

    def multi_get(self, keys: list[str]) -> list[bytes]:
        if "closed" in self:
            raise RuntimeError("connection closed")
        return [self[key].encode() for key in keys]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where rank 1 has come, too, and beats no more."""
    monkeypatch.setattr(model.training.heartbeat, "_BEAT_S", 0.01)
    monkeypatch.setattr(model.training.heartbeat, "_MOST_SILENT", 1000)
    place = Place()
    Heartbeat(place, 1, 2)._tell(None)
    return place


def broken_sum(*_: object) -> None:
    raise RuntimeError("[pair.cc] Connection closed by peer")


def own_error() -> None:
    raise ValueError("of this process")


@pytest.mark.parametrize(
    ("before", "named"),
    [
        (lambda place: None, r"rank 1 \(.*, process \d+\) has given no sign of life for"),
        (
            lambda place: Heartbeat(place, 1, 2)._tell("TrainStateError: disk full"),
            r"rank 1 \(.*\) failed: TrainStateError: disk",
        ),
        (lambda place: place.set("closed", ""), "rank 0, or the torchrun beside it, is gone: .*connection closed"),
    ],
)
def test_a_sum_that_broke_off_names_who_is_gone(place: Place, before: Callable[[Place], None], named: str) -> None:
    with pytest.raises(RankLost, match=named), Heartbeat(place, 0, 2):
        broken_sum(before(place))


def test_while_the_other_lives_or_has_ended_well_an_error_is_this_processs_own(place: Place) -> None:
    with Heartbeat(place, 1, 2), pytest.raises(RuntimeError, match="Connection closed") as caught, Heartbeat(place, 0, 2):
        broken_sum()
    assert not isinstance(caught.value, RankLost)
    with pytest.raises(RuntimeError, match="Connection closed") as caught, Heartbeat(place, 0, 2):
        broken_sum()  # rank 1 has left its block by now
    assert not isinstance(caught.value, RankLost)


@pytest.mark.parametrize(("error", "told"), [(own_error, "ValueError: of this process"), (None, "")])
def test_the_others_are_told_how_it_ended(place: Place, error: Callable[[], None] | None, told: str) -> None:
    with pytest.raises(ValueError, match="of this process") if error else nullcontext(), Heartbeat(place, 0, 2):
        if error:
            error()
    assert place["lafid/0/0"].endswith(f'"{told}"]')


def test_an_end_that_all_agreed_on_is_a_good_one(place: Place) -> None:
    with pytest.raises(EndedTogether), Heartbeat(place, 0, 2):
        raise EndedTogether
    assert place["lafid/0/0"].endswith('""]')


def test_a_process_that_waits_for_a_dead_one_ends_with_a_word(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()
    monkeypatch.setattr(model.training.heartbeat, "_MOST_SILENT", 3)
    monkeypatch.setattr(model.training.heartbeat, "_PARTING_S", 0.01)
    monkeypatch.setattr(model.training.heartbeat.os, "_exit", lambda code: ended.set())
    with caplog.at_level(logging.ERROR, "lafid.training"), Heartbeat(place, 0, 2):
        assert ended.wait(20)  # as in a sum that never comes
    assert "rank 1 (" in caplog.text
    assert caplog.text.rstrip().endswith("This process ends, too")
