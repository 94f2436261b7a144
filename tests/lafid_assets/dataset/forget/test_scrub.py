"""One table without the clips."""

import polars as pl

from lafid_assets.dataset.forget.scrub import GONE, scrub_frame, scrub_text
from lafid_assets.dataset.forget.subject import Subject
from lafid_assets.identity.naming import name_after
from lafid_assets.ingest.tombstones import pseudonym

LONG, SHORT = "0123456789abcdef0123456789abcdef", "b"
SUBJECT = Subject(
    clip_ids=(LONG, SHORT),
    contents=(),
    captions=("The video features a man.",),
    raw_files=(),
    versions=(),
    trained_versions=(),
    checkpoints=(),
    shown_in_demo=False,
    delete_files=False,
)


def test_rows_about_a_clip_go() -> None:
    frame = pl.DataFrame({"clip_id": [LONG, SHORT, "other", None], "value": [1, 2, 3, 4]})
    assert scrub_frame(frame, "any", SUBJECT)["value"].to_list() == [3, 4]


def test_pairs_go_with_either() -> None:
    edges = pl.DataFrame({"clip_a": ["x", LONG, "x"], "clip_b": [SHORT, "y", "y"], "cosine": [0.1, 0.2, 0.3]})
    assert scrub_frame(edges, "any", SUBJECT)["cosine"].to_list() == [0.3]


def test_where_a_name_may_be_missing_the_row_stays() -> None:
    clusters = pl.DataFrame({"clip_id": ["x"], "identity_id": [LONG], "nearest_clip_id": [LONG]})
    row = scrub_frame(clusters, "identity_clusters", SUBJECT).row(0, named=True)
    assert row == {"clip_id": "x", "identity_id": pseudonym(LONG), "nearest_clip_id": None}


def test_texts_and_lists_that_name_a_clip() -> None:
    frame = pl.DataFrame(
        {
            "clip_id": ["x"],
            "detail": [f"no pictures of {LONG}: The video features a man."],
            "person": [SHORT],
            "note": ["a b c"],
            "refs": [[{"clip_id": LONG, "n": 1}, {"clip_id": "y", "n": 2}]],
            "paths": [[f"crops/{LONG}.png", None]],
        }
    )
    row = scrub_frame(frame, "any", SUBJECT).row(0, named=True)
    assert row["detail"] == f"no pictures of {pseudonym(LONG)}: {GONE}"
    assert row["person"] == pseudonym(SHORT)
    assert row["note"] == "a b c", "short names are only recognised where they stand alone"
    assert row["refs"] == [{"clip_id": "y", "n": 2}]
    assert row["paths"] == [f"crops/{pseudonym(LONG)}.png", None]


def test_a_table_without_them_is_the_same() -> None:
    values = {"clip_id": ["x"], "refs": [[{"clip_id": "y"}]], "none": [None]}
    frame = pl.DataFrame(values, schema_overrides={"none": pl.List(pl.String)})
    assert scrub_frame(frame, "any", SUBJECT).equals(frame)


def test_persons_of_whom_nothing_is_left_go_from_their_history() -> None:
    subject = SUBJECT.model_copy(update={"identities": ("person-0123456789ab",)})
    history = pl.DataFrame(
        {
            "earlier_id": ["person-0123456789ab", "person-x", "person-0123456789ab", "person-x"],
            "identity_id": ["person-0123456789ab", "person-0123456789ab", "person-x", "person-x"],
            "clips": [1, 2, 3, 4],
        }
    )
    assert scrub_frame(history, "identity_history", subject)["clips"].to_list() == [4]
    assert scrub_text("a report about person-0123456789ab", subject) == f"a report about {GONE}"
    other = ("person-fedcba987654",)
    shared = subject.model_copy(update={"identities": other, "shared_names": other})
    assert scrub_text("person-fedcba987654-2", shared) == "person-fedcba987654-2", "somebody else's name begins so"


def test_texts() -> None:
    assert scrub_text(f"{LONG} b", SUBJECT) == f"{pseudonym(LONG)} b"


def test_persons_named_after_a_clip_are_renamed_everywhere_alike() -> None:
    name = name_after(LONG)
    clusters = pl.DataFrame({"clip_id": ["x", "y"], "identity_id": [name, f"{name}-2"], "split_key": [name, "person-else"]})
    rows = scrub_frame(clusters, "identity_clusters", SUBJECT)
    (new, second), keys = rows["identity_id"].to_list(), rows["split_key"].to_list()
    assert keys == [new, "person-else"]
    assert second == f"{new}-2"
    assert LONG[:12] not in str(rows.to_dicts())
    history = pl.DataFrame({"kind": ["merged"], "earlier_id": [name], "identity_id": [f"{name}-2"]})
    assert scrub_frame(history, "identity_history", SUBJECT).row(0) == ("merged", new, second)
    assert scrub_text(f"who is {name}?", SUBJECT) == f"who is {new}?"
    assert name in SUBJECT.needles
    assert name_after(SHORT) not in SUBJECT.needles, "too short to be searched for"
