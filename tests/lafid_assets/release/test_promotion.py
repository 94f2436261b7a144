"""Aliases with a real registry and a real lake: who moved what, whatever was killed when."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from lafid_assets.lake import open_lake
from lafid_assets.release import promotion
from lafid_assets.release.promotion import ACT_TAG, PromotionRefused, Registry, at_registry, has_been, promotions_of
from lafid_assets.schemas import PROMOTIONS
from resources.lake.lake import Lake
from resources.leases.leases import StoreBusy
from resources.settings import Settings
from resources.tracking import Tracking
from tests.kills import Killed, killed_at

MOVED = ("alias", "from_version", "to_version", "how")


class World:
    """Two registered versions, the first of which is champion."""

    def __init__(self, lake: Lake, tracking: Tracking, register: Callable[..., str]) -> None:
        self.lake, self.tracking = lake, tracking
        for checkpoint in ("one", "two"):
            register(checkpoint)
        self.client = tracking.connect()
        with self.registry() as registry:
            registry.make_candidate("1")
            registry.promote("1", how="gate", why="passed", judgement_id="j1")

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        with at_registry(self.lake, self.tracking, "lafid") as registry:
            yield registry

    @property
    def aliases(self) -> dict[str, str]:
        return {alias: str(version) for alias, version in self.client.get_registered_model("lafid").aliases.items()}

    @property
    def recorded(self) -> list[tuple[Any, ...]]:
        return promotions_of(self.lake, "lafid").select(MOVED).rows()

    def settled(self) -> None:
        with self.registry():
            pass
        last = dict(promotions_of(self.lake, "lafid").select("alias", "to_version").iter_rows())
        assert {alias: version for alias, version in last.items() if version is not None} == self.aliases
        assert ACT_TAG not in self.client.get_registered_model("lafid").tags


@pytest.fixture
def world(lake: Lake, tracking: Tracking, register_version: Callable[..., str]) -> World:
    return World(lake, tracking, register_version)


BEGUN = [("candidate", None, "1", "registered"), ("champion", None, "1", "gate"), ("candidate", "1", None, "gate")]


def test_candidate_champion_previous_and_back(world: World) -> None:
    assert world.aliases == {"champion": "1"}
    assert world.recorded == BEGUN
    with world.registry() as registry:
        registry.make_candidate("2")
    assert world.aliases == {"champion": "1", "candidate": "2"}
    with world.registry() as registry:
        registry.promote("2", how="promote", why="it is better", judgement_id="j2")
    assert world.aliases == {"champion": "2", "previous": "1"}
    with world.registry() as registry:
        assert registry.roll_back("it is not") == ("2", "1")
        assert registry.aliases == world.aliases
    assert world.aliases == {"champion": "1", "previous": "2"}
    assert world.recorded[3:] == [
        ("candidate", None, "2", "registered"),
        ("champion", "1", "2", "promote"),
        ("previous", None, "1", "promote"),
        ("candidate", "2", None, "promote"),
        ("champion", "2", "1", "rollback"),
        ("previous", "1", "2", "rollback"),
    ]
    rows = promotions_of(world.lake, "lafid")
    assert PROMOTIONS.violations(PROMOTIONS.frame(rows)) == []
    assert rows["moved_at"].is_sorted()
    assert rows["moved_at"].n_unique() == rows.height
    promoted = rows.row(4, named=True)
    assert (promoted["why"], promoted["judgement_id"]) == ("it is better", "j2")
    assert "@" in promoted["moved_by"]
    world.settled()
    assert len(world.recorded) == 9, "nothing new is found where nothing has moved"


def test_the_champion_becomes_neither_candidate_nor_champion_again(world: World) -> None:
    with world.registry() as registry:
        registry.make_candidate("1")
        registry.promote("1", how="gate", why="", judgement_id=None)
    assert world.recorded == BEGUN


def test_a_rollback_needs_both(world: World, tracking: Tracking, lake: Lake) -> None:
    with world.registry() as registry, pytest.raises(PromotionRefused, match="lafid has no previous version to roll back to"):
        registry.roll_back("")
    world.client.delete_registered_model_alias("lafid", "champion")
    with world.registry() as registry, pytest.raises(PromotionRefused, match="lafid has no champion to roll back from"):
        registry.roll_back("")


# ---- by hand


def test_what_a_person_does_is_recorded_once_and_left(world: World) -> None:
    with world.registry() as registry:
        registry.promote("2", how="gate", why="", judgement_id=None)
    before = len(world.recorded)

    world.client.set_registered_model_alias("lafid", "champion", "1")
    world.settled()
    world.settled()
    assert world.recorded[before:] == [("champion", "2", "1", "by_hand")]
    assert world.aliases == {"champion": "1", "previous": "1"}
    assert promotions_of(world.lake, "lafid")["moved_by"][-1] == promotion.SOMEBODY

    world.client.delete_registered_model_alias("lafid", "champion")
    world.settled()
    assert world.recorded[before + 1 :] == [("champion", "1", None, "by_hand")]
    assert world.aliases == {"previous": "1"}

    world.client.set_registered_model_alias("lafid", "shop", "2")
    world.settled()
    assert world.recorded[before + 2 :] == [("shop", None, "2", "by_hand")]

    world.client.delete_registered_model("lafid")
    with world.registry() as registry:
        assert registry.aliases == {}
    assert world.recorded[before + 3 :] == [("previous", "1", None, "by_hand"), ("shop", "2", None, "by_hand")]


def test_a_version_is_remembered_as_champion_though_it_is_no_more(world: World) -> None:
    first, second = (world.client.get_model_version("lafid", number) for number in "12")
    assert has_been(world.lake, "champion", first)
    assert not has_been(world.lake, "champion", second)
    world.client.delete_registered_model_alias("lafid", "champion")
    assert has_been(world.lake, "champion", first)
    made = first.creation_timestamp + int(promotion.CLOCKS_DIFFER.total_seconds() * 1000) + 3_600_000
    another = SimpleNamespace(name="lafid", version="1", creation_timestamp=made)
    assert not has_been(world.lake, "champion", another), "of the same number, made since the model was deleted"


# ---- killed


CALLS = ("set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_alias", "delete_registered_model_tag")


def _promote_killed(world: World, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Version 2 is promoted by a process that dies in place of write number `at`."""
    client = world.tracking.connect()
    writes = [*((client, name) for name in CALLS), (world.lake, "commit")]
    with monkeypatch.context() as patch, pytest.raises(Killed), world.registry() as registry, killed_at(at, *writes):  # noqa: PT012
        patch.setattr(Tracking, "connect", lambda self: client)
        _promote(registry)


def _promote(registry: Registry) -> None:
    registry.promote("2", how="gate", why="passed", judgement_id="j2")


def test_killed_at_any_write_the_next_ends_as_if_it_had_not_been(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before each of six writes: the act, three aliases, the record, the act's end. One world for all, for a registry takes
    seconds to open."""
    for at in range(6):
        for alias in ("previous", "candidate"):
            world.client.delete_registered_model_alias("lafid", alias)
        world.client.set_registered_model_alias("lafid", "champion", "1")
        with world.registry() as registry:
            registry.make_candidate("2")
        before = world.recorded
        _promote_killed(world, monkeypatch, at)
        world.settled()
        assert not [row for row in world.recorded[len(before) :] if row[3] == "by_hand"], "nobody's hand was in it"
        begun = at > 1
        assert world.aliases["champion"] == ("2" if begun else "1"), at
        assert (world.recorded != before) == begun, at
        with world.registry() as registry:  # the run is repeated
            _promote(registry)
        world.settled()
        assert world.aliases == {"champion": "2", "previous": "1"}
        assert sorted(world.recorded[len(before) :], key=str) == [
            ("candidate", "2", None, "gate"),
            ("champion", "1", "2", "gate"),
            ("previous", None, "1", "gate"),
        ], at


def test_a_hand_that_came_between_a_killed_act_and_its_record_has_the_last_word(
    world: World, monkeypatch: pytest.MonkeyPatch, register_version: Callable[..., str]
) -> None:
    register_version("three")
    _promote_killed(world, monkeypatch, 3)
    world.client.set_registered_model_alias("lafid", "champion", "3")
    world.settled()
    assert world.aliases["champion"] == "3"
    assert ("champion", "1", "3", "by_hand") in world.recorded


def test_an_alias_that_a_hand_moved_before_a_killed_act_came_to_it_stays_there(
    world: World, monkeypatch: pytest.MonkeyPatch, register_version: Callable[..., str]
) -> None:
    register_version("three")
    _promote_killed(world, monkeypatch, 2)
    world.client.set_registered_model_alias("lafid", "previous", "3")
    world.settled()
    assert world.aliases == {"champion": "2", "previous": "3"}
    assert world.recorded[-1] == ("previous", "1", "3", "by_hand")


def test_an_act_that_nobody_understands_is_dropped(world: World) -> None:
    empty = '{"moves": [], "moved_by": "", "why": "", "judgement_id": null, "how": "gate"}'
    for tag in ("no json", '{"moves": []}', empty):
        world.client.set_registered_model_tag("lafid", ACT_TAG, tag)
        world.settled()
        assert world.aliases == {"champion": "1"}
        assert world.recorded == BEGUN


# ---- two at once


def test_only_one_of_a_store_is_at_the_aliases(world: World) -> None:
    with world.registry():
        found: list[BaseException] = []

        def second() -> None:
            try:
                with at_registry(world.lake, world.tracking, "lafid", wait=False):
                    pass
            except StoreBusy as error:
                found.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(found) == 1


def test_a_clock_that_is_behind_records_after_what_is_there(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2000, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(promotion, "datetime", Behind)
    with world.registry() as registry:
        registry.promote("2", how="gate", why="", judgement_id=None)
    assert world.recorded[-2:] == [("champion", "1", "2", "gate"), ("previous", None, "1", "gate")]
    world.settled()


def test_a_moved_home_keeps_aliases_and_their_record(world: World, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    world.lake.close()
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # which MLflow has set, to the old place
    home = settings.home.with_name("moved home")
    settings.home.rename(home)
    moved = Settings(home=home, store_uri=str(home / "store"))
    lake, tracking = open_lake(moved), Tracking(moved.mlflow_uri, moved.mlflow_artifacts)
    with at_registry(lake, tracking, "lafid") as registry:
        assert registry.aliases == {"champion": "1"}
        registry.promote("2", how="promote", why="", judgement_id=None)
    recorded = promotions_of(lake, "lafid").select(MOVED).rows()
    lake.close()
    assert recorded == [*BEGUN, ("champion", "1", "2", "promote"), ("previous", None, "1", "promote")]
