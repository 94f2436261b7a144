"""`lafid forget`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.dataset.forget import erase
from resources.lake.lake import Lake

CLIP, OTHER = "0" * 32, "1" * 32
FORGOTTEN = {
    *("clips", "rewritten", "removed", "renamed", "files", "delete_files", "recordings", "models", "pictures_to_check"),
    "look_yourself",
}


def _there(home: Path) -> bool:
    return any(CLIP.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


@pytest.fixture
def known(home: Path, lake: Lake, keep_dataset: Callable[..., None]) -> None:
    """Two versions: of two clips, one of which a log names, too, and of the other clip."""
    keep_dataset("aa11", {CLIP: "CC0-1.0", OTHER: "CC0-1.0"})
    keep_dataset("bb22", {OTHER: "CC0-1.0"})
    lake.close()
    (home / "logs").mkdir()
    (home / "logs" / "last-error.log").write_text(f"trouble with {CLIP}")
    (home / "lafid.duckdb").write_text(f"decisions about {CLIP}")


@pytest.mark.usefixtures("known")
def test_dry_run_then_for_good_but_not_under_a_run_and_an_interrupted_one_is_finished_by_the_next(
    lafid: Callable[..., Any], home: Path, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lake.leases.at_work("a run"):
        assert "others are at work in the store, and lafid forget would remove" in lafid("forget", "--clip", CLIP).error
        assert not (home / "forget.json").exists()
        dry = lafid("forget", "--identity", CLIP, "--dry-run")
    assert dry.code == 0, dry.err
    assert f"clips (1):\n  {CLIP}\n" in dry.out
    [would] = json.loads(lafid("forget", "--identity", CLIP, "--dry-run", "--json").out)["forgotten"]
    assert (would["clips"], would["models"], would["delete_files"]) == ([CLIP], [], False)
    assert set(would) == FORGOTTEN
    assert "would be rewritten" in dry.out
    assert "lafid.duckdb would be gone until the next refresh" in dry.out
    assert not (home / "forget.json").exists()
    assert _there(home)

    def killed(*_: Any, **__: Any) -> None:
        raise RuntimeError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(erase, "write_tombstones", killed)
        assert "the power went" in lafid("forget", "--identity", CLIP).error
    assert _there(home)
    ended = lafid("forget")
    assert ended.code == 0, ended.err
    assert "an earlier `lafid forget` was interrupted: finishing it first" in ended.out
    assert "1 clips are forgotten; a search of all files finds nothing of them" in ended.out
    assert "lafid.duckdb is gone until the next refresh" in ended.out
    assert not _there(home)
    assert not (home / "forget.json").exists()
    assert "version aa11 is marked erased: 1 clips" in lafid("diff", "aa", "bb").out


def test_nobody_and_unknown_are_errors(lafid: Callable[..., Any], known: None) -> None:
    assert lafid("forget").error == "error: nobody to forget: name a clip with --clip, or a person with --identity"
    assert "there is no clip zz" in lafid("forget", "--clip", "zz").error
    assert "there is no person zz" in lafid("forget", "--identity", "zz").error
