"""A bench that shows a forgotten clip or person goes as a whole; another stays to the byte."""

from collections.abc import Callable
from typing import Any

from lafid_assets.dataset.forget.elsewhere import benches_with
from lafid_assets.dataset.forget.subject import identify
from lafid_assets.release.bench_folder import folder_of
from tests.lafid_assets.dataset.forget.conftest import UNFINISHED


def test_benches_with_the_clip_would_go_and_the_others_stay(
    installation: Any, erase: Callable[..., Any], benches: dict[str, str], benches_left: Callable[..., set[str]]
) -> None:
    """And they do: `test_erase.test_whole_person_goes`."""
    subject = identify(installation.lake, [installation.clip("a")], [], delete_files=False)
    gone = {folder_of(benches["a"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    would = erase(installation, subject, dry_run=True)
    assert gone == {path for path in would.removed if path.startswith("benches/")}
    assert not any("/store/benches/" in path for path in would.rewritten)
    assert benches_left(installation) == set(benches)


def test_a_person_s_benches_are_those_of_the_clips_and_of_the_name(installation: Any, benches: dict[str, str]) -> None:
    subject = identify(installation.lake, [], [installation.clip("c")], delete_files=False)
    theirs = {folder_of(benches["c"]), folder_of(benches["c+a"]), UNFINISHED.rsplit("/", 2)[0]}
    assert set(benches_with(installation.store, subject)) == theirs
    named = subject.model_copy(update={"clip_ids": (), "contents": (), "identities": ("person-0",)})
    assert set(benches_with(installation.store, named)) == theirs | {folder_of(version) for version in benches.values()}
    nobody = named.model_copy(update={"identities": ("person-7",), "captions": ()})
    assert benches_with(installation.store, nobody) == [UNFINISHED.rsplit("/", 2)[0]]
