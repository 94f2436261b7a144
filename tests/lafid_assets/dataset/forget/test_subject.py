"""Who is meant, before anything is touched."""

from typing import Any

import polars as pl
import pytest

from lafid_assets.dataset.forget.subject import NobodyToForget, identify, read_intent, write_intent
from lafid_assets.identity.naming import name_after
from lafid_assets.ingest.tombstones import write_tombstones


def _rename(installation: Any, names: dict[str, str]) -> None:
    """Persons in what is current and in what was kept."""

    def change(writer: Any) -> None:
        for table in ("identity_clusters", "lafid_dataset", "dataset_version_rows"):
            for old, new in names.items():
                writer.cursor.execute(f"UPDATE {table} SET identity_id = '{new}' WHERE identity_id = '{old}'")

    installation.lake.commit(change)


def test_all_by_which_a_clip_can_be_recognised(installation: Any) -> None:
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=True)
    assert set(subject.clip_ids) == {installation.clip("a"), installation.clip("f")}, "and its copies"
    assert subject.contents == (installation.content("a"),)
    assert [caption.split()[5] for caption in subject.captions] == ["102", "97"]
    assert {raw.path for raw in subject.raw_files} == set(subject.clip_ids)
    assert set(subject.versions) == {installation.first_version, installation.second_version}
    assert subject.delete_files


def test_versions_that_it_had_left_before_are_not_its_own(installation: Any) -> None:
    c = installation.clip("c")
    gone = f"INSERT INTO dataset_outcomes VALUES ('{c}', 2, NULL, NULL, NULL)"
    installation.lake.commit(lambda writer: writer.cursor.execute(gone))
    assert identify(installation.lake, [c], [], delete_files=False).versions == (installation.first_version,)


def test_rejected_clips_came_in_too_but_no_model_learned_from_them(installation: Any) -> None:
    subject = identify(installation.lake, [installation.clip("d")], [], delete_files=False)
    assert len(subject.versions) == 2
    assert (subject.trained_versions, subject.checkpoints) == ((), ())


def test_checkpoints_trained_on_a_clip_are_found(installation: Any) -> None:
    """By the version that they were trained on, if the clip was in its train split."""
    rows = installation.lake.read("lafid_dataset")
    for letter in "abce":
        clip = installation.clip(letter)
        split = rows.row(rows["clip_id"].to_list().index(clip), named=True)["split"]
        subject = identify(installation.lake, [clip], [], delete_files=False)
        assert (installation.second_version in subject.trained_versions) == (split == "train")
        assert bool(subject.checkpoints) == (split == "train")
    assert "train" in set(rows["split"])


def test_every_checkpoint_of_such_a_version_is_named(installation: Any) -> None:
    """Not only the one that is published: earlier trainings, averages, and what is kept on the way."""
    rows = installation.lake.read("lafid_dataset").filter(pl.col("split") == "train")
    trained = next(clip for clip in rows["clip_id"] if clip != installation.clip("e"))  # `e` came with the second version
    subject = identify(installation.lake, [trained], [], delete_files=False)
    assert subject.checkpoints == (
        "training_runs/older/checkpoint",
        "training_runs/tiny",
        "training_runs/tiny/checkpoint",
        "training_runs/tiny/checkpoint_ema",
        "training_runs/tiny/checkpoints/step-0000002",
    )


def test_persons_are_named_once_nothing_is_left_of_them(installation: Any) -> None:
    a, b, c = (installation.clip(letter) for letter in "abc")
    assert identify(installation.lake, [a], [], delete_files=False).identities == (), "b shows the same person"
    assert identify(installation.lake, [a, b], [], delete_files=False).identities == (a,)
    _rename(installation, {installation.clip("e"): f"{c}-2"})
    subject = identify(installation.lake, [c], [], delete_files=False)
    assert (subject.identities, subject.shared_names, subject.own_names) == ((c,), (c,), ())


def test_who_stays_and_bears_a_clips_name_gets_another(installation: Any) -> None:
    a, c = installation.clip("a"), installation.clip("c")
    _rename(installation, {a: name_after(a), c: name_after(c)})
    subject = identify(installation.lake, [a], [], delete_files=False)
    assert list(subject.renamed) == [name_after(a)], "b is left of them"
    assert not set(subject.renamed.values()) & {name_after(a), name_after(c)}
    assert a[:12] not in subject.renamed[name_after(a)]
    assert identify(installation.lake, [installation.clip("b")], [], delete_files=False).renamed == {}
    assert identify(installation.lake, [c], [], delete_files=False).renamed == {}, "nobody is left of them"


def test_captions_that_others_have_too_are_not_searched_for(installation: Any) -> None:
    said = "The video features a person of whom nobody says more."
    installation.lake.commit(lambda writer: writer.cursor.execute(f"UPDATE clip_rows SET caption = '{said}'"))
    subject = identify(installation.lake, [installation.clip("c")], [], delete_files=False)
    assert subject.captions == ("The video features person number 99 who turns.",), "the refined one alone"


def test_unknown_clips_and_persons_are_named(installation: Any) -> None:
    with pytest.raises(NobodyToForget, match="there is no clip nobody: see clip_id in"):
        identify(installation.lake, ["nobody"], [], delete_files=False)
    with pytest.raises(NobodyToForget, match="there is no person nobody: see identity_id in"):
        identify(installation.lake, [], ["nobody"], delete_files=False)
    write_tombstones(installation.store, ["nobody"], [])
    assert identify(installation.lake, ["nobody"], [], delete_files=False).clip_ids == ("nobody",), "a second look is allowed"


def test_intent_survives_as_it_was(installation: Any) -> None:
    home = installation.settings.home
    assert read_intent(home) is None
    subject = identify(installation.lake, [], [installation.clip("a")], delete_files=False)
    write_intent(home, subject)
    assert read_intent(home) == subject
