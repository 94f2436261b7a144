"""Names and split keys that stay with the person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lafid_assets.dataset import splits
from lafid_assets.identity.naming import Known, Named, changes, name_groups


def _known(**names: str) -> dict[str, Known]:
    return {clip: Known(name, f"key-{name}") for clip, name in names.items()}


def test_new_persons_are_named_by_their_smallest_clip() -> None:
    assert name_groups([["b", "a"], ["c"]], {}) == Named(("person-a", "person-c"), ("person-a", "person-c"))


def test_most_frequent_earlier_name_stays() -> None:
    found = name_groups([["a", "b", "c", "d"]], _known(b="p", c="q", d="q"))
    assert found.identity_ids == ("q",)


def test_fresh_name_is_nobody_elses() -> None:
    """Neither that of a smaller group that comes later, nor that of another person whose clip ids begin alike."""
    found = name_groups(
        [["aaaaaaaaaaaa1", "aaaaaaaaaaaa2"], ["aaaaaaaaaaaa3"], ["aaaaaaaaaaaa4"]], _known(aaaaaaaaaaaa3="person-aaaaaaaaaaaa")
    )
    assert found.identity_ids == ("person-aaaaaaaaaaaa-2", "person-aaaaaaaaaaaa", "person-aaaaaaaaaaaa-3")


def test_larger_part_keeps_the_name_and_both_keep_the_key() -> None:
    found = name_groups([["a"], ["b", "c"]], _known(a="person-a", b="person-a", c="person-a"))
    assert found.identity_ids == ("person-a-2", "person-a")
    assert found.split_keys == ("key-person-a", "key-person-a")


@pytest.mark.parametrize("positions", [(0.5, 0.05, 0.15), (0.05, 0.5, 0.15), (0.15, 0.05, 0.5)])
def test_merged_person_goes_where_it_was_trained_on(positions: tuple[float, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the three trained: the person must not be tested afterwards, whatever the merged cluster is called."""
    by_key = {f"key-{name}": position for name, position in zip("pqr", positions, strict=True)}
    monkeypatch.setattr(splits, "_position", by_key.__getitem__)
    found = name_groups([["a", "b", "c", "d"]], _known(a="p", b="q", c="r", d="r"))
    assert by_key[found.split_keys[0]] == 0.5


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.integers(0, 3)), min_size=1, max_size=12))
def test_a_person_never_moves_from_training_to_the_held_out_sides(clips: list[tuple[str, int]]) -> None:
    """Whatever merges and parts: a clip whose key trained has a key that trains."""
    earlier = {f"c{index}": Known(name, f"k{name}{len(clips)}") for index, (name, _) in enumerate(clips)}
    groups: dict[int, list[str]] = {}
    for index, (_, group) in enumerate(clips):
        groups.setdefault(group, []).append(f"c{index}")
    members = list(groups.values())
    named = name_groups(members, earlier)
    assert len(set(named.identity_ids)) == len(members)
    for own, key in zip(members, named.split_keys, strict=True):
        sides = {splits._by_hash(splits._position(earlier[clip].split_key)) for clip in own}
        side = splits._by_hash(splits._position(key))
        assert side in sides
        assert side == "train" or "train" not in sides


def _events(before: dict[str, str], after: dict[str, str]) -> set[tuple[str, str, str, int]]:
    return {(row["kind"], row["earlier_id"], row["identity_id"], row["clips"]) for row in changes(before, after)}


def test_changes_name_what_happened() -> None:
    before = {"a": "p", "b": "p", "c": "q", "d": "r", "e": "s"}
    assert _events(before, before) == set()
    assert _events({}, {"a": "p", "b": "p"}) == {("new", "p", "p", 2)}
    assert _events(before, {**before, "f": "p"}) == set(), "a person who gains a clip is the same"
    assert _events(before, {"a": "p", "b": "p", "c": "p", "d": "r", "e": "s"}) == {
        ("merged", "p", "p", 2),
        ("merged", "q", "p", 1),
    }
    assert _events(before, {**before, "b": "t"}) == {("split", "p", "p", 1), ("split", "p", "t", 1)}
    assert _events(before, {"a": "p", "b": "p", "c": "q", "d": "r"}) == {("gone", "s", "s", 1)}
    assert _events(before, {**before, "d": "x"}) == {("renamed", "r", "x", 1)}
