"""Splits: whole persons, never empty, and nobody changes sides without need."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lafid_assets.dataset import splits as module
from lafid_assets.dataset.splits import inherited_key, split_identities

names = st.sets(st.text("abcdefgh0123", min_size=1, max_size=8), max_size=40)


@settings(deadline=None)
@given(names)
def test_every_person_is_on_one_side_and_no_needed_side_is_empty(persons: set[str]) -> None:
    found = split_identities(persons)
    assert set(found) == persons
    needed = [set(), {"train"}, {"train", "test"}, {"train", "test", "validation"}][min(len(persons), 3)]
    assert set(found.values()) == needed


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats(0, 0.999), min_size=3, max_size=6, unique=True))
def test_no_side_is_empty_wherever_the_hashes_fall(positions: list[float]) -> None:
    """Few persons can all fall into one tenth."""
    by_name = {f"person-{index}": position for index, position in enumerate(positions)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_position", by_name.__getitem__)
        found = split_identities(by_name)
    assert set(found.values()) == {"train", "test", "validation"}


def _by_position(monkeypatch: pytest.MonkeyPatch, *positions: float) -> list[str]:
    by_name = {f"person-{position}": position for position in positions}
    monkeypatch.setattr(module, "_position", by_name.__getitem__)
    found = split_identities(by_name)
    return [found[name] for name in sorted(by_name, key=by_name.__getitem__)]


def test_smallest_hashes_fill_test_then_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _by_position(monkeypatch, 0.5, 0.6, 0.7, 0.8) == ["test", "validation", "train", "train"]
    assert _by_position(monkeypatch, 0.05, 0.6, 0.7) == ["test", "validation", "train"]
    assert _by_position(monkeypatch, 0.15, 0.6, 0.7) == ["validation", "test", "train"]
    assert _by_position(monkeypatch, 0.01, 0.02, 0.03) == ["validation", "test", "train"]
    assert _by_position(monkeypatch, 0.05, 0.15, 0.9, 0.95) == ["test", "validation", "train", "train"]


def test_below_three_there_is_no_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _by_position(monkeypatch, 0.15, 0.9) == ["test", "train"]
    assert _by_position(monkeypatch, 0.05) == ["train"]
    assert split_identities([]) == {}


def test_shares_are_about_a_tenth_each() -> None:
    sides = list(split_identities(f"person-{number}" for number in range(3000)).values())
    assert 0.08 < sides.count("test") / 3000 < 0.12
    assert 0.08 < sides.count("validation") / 3000 < 0.12


def test_sides_are_those_of_the_hash_on_any_machine() -> None:
    name = "person-0"
    position = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) / 2**64
    expected = "test" if position < 0.1 else "validation" if position < 0.2 else "train"
    assert split_identities(f"person-{number}" for number in range(100))[name] == expected


def test_few_change_sides_when_persons_are_added() -> None:
    """Only those who had to fill an empty side may move."""
    before = split_identities(f"person-{number}" for number in range(10))
    after = split_identities(f"person-{number}" for number in range(1000))
    assert sum(before[name] != after[name] for name in before) <= 2
    assert split_identities(f"person-{number}" for number in reversed(range(10))) == before


def test_persons_who_come_twice_count_once() -> None:
    assert split_identities(["a", "a", "b"]) == split_identities(["b", "a"])


@settings(deadline=None, max_examples=200)
@given(names, names)
def test_nobody_ever_changes_sides_when_the_last_sides_are_known(persons: set[str], added: set[str]) -> None:
    """Unless a side would be empty."""
    before = split_identities(persons)
    after = split_identities(persons | added, before)
    needed = [set(), {"train"}, {"train", "test"}, {"train", "test", "validation"}][min(len(persons | added), 3)]
    assert needed <= set(after.values())
    moved = {name for name in persons if before[name] != after[name]}
    newcomers = len((persons | added) - persons)
    assert not moved or len(persons) < 3
    assert len(moved) <= max(len(needed) - len(set(before.values())) - newcomers, 0)


@settings(deadline=None)
@given(names)
def test_same_persons_and_their_last_sides_give_these_sides(persons: set[str]) -> None:
    before = split_identities(persons)
    assert split_identities(persons, before) == before
    assert split_identities(persons, {**before, "somebody who left": "test"}) == before


def test_person_without_a_side_fills_an_empty_one_before_others_move(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = {"a": 0.3, "b": 0.4, "new": 0.9, "newer": 0.95}
    monkeypatch.setattr(module, "_position", positions.__getitem__)
    earlier = {"a": "train", "b": "test"}
    assert split_identities(positions, earlier) == {"a": "train", "b": "test", "new": "validation", "newer": "train"}


def test_heir_of_several_keys_stays_where_it_was_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    positions = {"tests": 0.05, "validates": 0.15, "trains": 0.5, "trains too": 0.6}
    monkeypatch.setattr(module, "_position", positions.__getitem__)
    assert inherited_key({"tests": 9, "validates": 5, "trains": 1}) == "trains"
    assert inherited_key({"tests": 9, "validates": 5}) == "validates"
    assert inherited_key({"trains": 1, "trains too": 2}) == "trains too"
    assert inherited_key({"trains too": 2, "trains": 2}) == "trains"
