"""`lafid adopt`."""

import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import model.presets
from model.presets import PRESETS
from tests.model.released import COMMIT, RELEASED, write_snapshot

T2V = "wan2.1-t2v-1.3b"


def test_a_base_is_fetched_adopted_and_named(lafid: Any, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    components = home / "store" / "bases" / T2V / "components"
    command = f"`hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers --local-dir {shlex.quote(str(components))}`"
    error = lafid("adopt", T2V).error
    assert f"{components} lacks model_index.json, transformer/config.json" in error
    assert f"fetch it with {command}, then run `lafid adopt {T2V}`" in error

    monkeypatch.setitem(PRESETS, T2V, model.presets.preset(T2V).model_copy(update={"base": RELEASED[T2V]}))
    write_snapshot(components, RELEASED[T2V])
    said = lafid("adopt", T2V).out
    assert f"{T2V}: Wan-AI/Wan2.1-T2V-1.3B-Diffusers@{COMMIT}, as the download recorded it; sha256 " in said
    assert "no file can prove" in said
    assert "flow_shift 3.0; LaFID draws with 3 up to 480p and 5 from 720p on" in " ".join(said.split())
    shutil.rmtree(components / ".cache")
    assert "which nothing proves: the download left no record of" in lafid("adopt", T2V, COMMIT).out


@pytest.mark.parametrize(
    ("name", "commit", "message"),
    [
        (T2V, "main", "'main' is no commit"),
        ("tiny", COMMIT, "base tiny has no repository: it is built where it is first needed"),
        ("wan9", COMMIT, "wan9"),
    ],
)
def test_what_cannot_be_adopted_is_one_line(lafid: Any, name: str, commit: str, message: str) -> None:
    assert message in lafid("adopt", name, commit).error
