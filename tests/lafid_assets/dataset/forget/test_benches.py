"""A bench that shows a forgotten clip or person goes as a whole; another stays to the byte."""

from collections.abc import Callable
from typing import Any

import pytest

from lafid_assets.dataset.forget.benches import benches_with
from lafid_assets.dataset.forget.subject import identify
from lafid_assets.release.bench_folder import folder_of, is_whole, put_bench
from lafid_assets.schemas import LAFID_BENCH
from model.evaluation.bench import seal_bench
from tests.model.evaluation.benches import small_facts

UNFINISHED = "benches/0123456789abcdef/first_frames/000.png"


@pytest.fixture
def benches(installation: Any, row_of: Callable[..., dict[str, Any]]) -> dict[str, str]:
    """Letter to the version of a bench that draws that clip, `c+a` to one of `c` whose gallery has a picture of `a`, `unnamed` to
    one that knows nobody of the installation; and half a bench. The table names the one of `a`."""
    made = {name: _put(installation, *name.split("+")) for name in ("a", "c", "c+a", "unnamed")}
    installation.store.write_bytes(UNFINISHED, b"picture")
    rows = [row_of(LAFID_BENCH, clip_id=installation.clip(letter), bench_version=made["a"]) for letter in "ac"]
    installation.lake.put({LAFID_BENCH.name: LAFID_BENCH.frame(rows)})
    return made


def _put(installation: Any, drawn: str, beside: str | None = None) -> str:
    facts, pictures = small_facts(persons=1)
    person, case = facts.persons[0], facts.cases[0]
    if drawn != "unnamed":
        clip = installation.clip(drawn)
        case = case.model_copy(update={"case_id": clip, "clip_id": clip})
        person = person.model_copy(update={"clips": (person.clips[0].model_copy(update={"clip_id": clip}),)})
    if beside is not None:
        other = person.clips[0].model_copy(update={"clip_id": installation.clip(beside)})
        person = person.model_copy(update={"clips": (*person.clips, other)})
    bench = seal_bench(facts.model_copy(update={"persons": (person,), "cases": (case,)}), pictures)
    put_bench(installation.store, bench, pictures)
    return bench.version


def _left(installation: Any, benches: dict[str, str]) -> set[str]:
    return {name for name, version in benches.items() if is_whole(installation.store, version)}


def test_benches_with_the_clip_go_and_the_others_stay(
    installation: Any, erase: Callable[..., Any], benches: dict[str, str]
) -> None:
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=False)
    gone = {folder_of(benches["a"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    would = erase(installation, subject, dry_run=True)
    assert gone == {path for path in would.removed if path.startswith("benches/")}
    assert not any("/store/benches/" in path for path in would.rewritten)
    assert _left(installation, benches) == set(benches)
    done = erase(installation, subject)
    assert gone == {path for path in done.removed if path.startswith("benches/")}
    assert _left(installation, benches) == {"c", "unnamed"}
    assert not any(path for folder in gone for path in installation.store.list_tree(folder))
    assert installation.lake.read(LAFID_BENCH.name)["clip_id"].to_list() == [installation.clip("c")]


def test_a_person_s_benches_are_those_of_the_clips_and_of_the_name(installation: Any, benches: dict[str, str]) -> None:
    subject = identify(installation.lake, [], [installation.clip("c")], delete_files=False)
    theirs = {folder_of(benches["c"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    assert set(benches_with(installation.store, subject)) == theirs
    named = subject.model_copy(update={"clip_ids": (), "contents": (), "identities": ("person-0",)})
    assert set(benches_with(installation.store, named)) == theirs | {folder_of(version) for version in benches.values()}
    nobody = named.model_copy(update={"identities": ("person-7",), "captions": ()})
    assert benches_with(installation.store, nobody) == [UNFINISHED.rsplit("/", 2)[0]]
