"""`lafid export`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

Keep = Callable[..., None]
ND = "CC-BY-NC-ND-4.0"


def test_newest_version_goes_out_and_is_said(lafid: Callable[..., Any], keep_dataset: Keep, tmp_path: Path) -> None:
    keep_dataset("aa11", {"a": "CC0-1.0"})
    keep_dataset("bb22", {"a": "CC0-1.0", "b": "public-domain"})
    ended = lafid("export", "--format", "csv", tmp_path / "out")
    assert ended.code == 0, ended.err
    assert "out: 2 clips of version bb22 in 1 files, checked" in ended.out
    assert "licences: CC0-1.0, public-domain" in ended.out
    assert "models that measured them: dlib: MIT" in ended.out
    found = json.loads(lafid("export", "--format", "csv", tmp_path / "out", "--json").out)
    assert (found["destination"], found["clips"], found["complete"]) == (str(tmp_path / "out"), 2, True)
    assert found["licences"] == ["CC0-1.0", "public-domain"]
    older = lafid("export", "--format", "parquet", tmp_path / "older", "--version", "aa")
    assert "1 clips of version aa11" in older.out
    assert pl.read_parquet(tmp_path / "older" / "lafid_dataset.parquet")["clip_id"].to_list() == ["a"]


def test_licences_are_asked_for(lafid: Callable[..., Any], keep_dataset: Keep, tmp_path: Path) -> None:
    keep_dataset("aa11", {"a": "CC0-1.0", "b": ND})
    out = ("export", "--format", "csv", tmp_path / "out")
    assert f"{ND} (1 clips: b)" in lafid(*out).error
    assert not (tmp_path / "out").exists()
    assert "1 clips of version aa11 in 1 files, checked, 1 left out for their licence" in lafid(*out, "--skip-refused").out
    assert "2 clips of version aa11 in 1 files, checked\n" in lafid(*out, "--allow-licence", ND).out


def test_terms_of_models_are_asked_for(lafid: Callable[..., Any], keep_dataset: Keep, tmp_path: Path) -> None:
    keep_dataset("aa11", {"a": "CC0-1.0"}, models=("my-whisper: unstated",))
    out = ("export", "--format", "csv", tmp_path / "out")
    assert "unstated of my-whisper (1 clips: a). Name it with --allow-model-licence 'unstated'" in lafid(*out).error
    assert "1 clips of version aa11" in lafid(*out, "--allow-model-licence", "unstated").out


def test_unknown_forms_and_versions_are_named(lafid: Callable[..., Any], keep_dataset: Keep, tmp_path: Path) -> None:
    assert "there are none yet: run `lafid curate DIR` first" in lafid("export", "--format", "csv", tmp_path / "out").error
    keep_dataset("aa11", {"a": "CC0-1.0"})
    assert "no version begins with 'x': there are aa11" in lafid("export", "--format", "csv", tmp_path, "--version", "x").error
    ended = lafid("export", "--format", "zip", tmp_path / "out")
    assert ended.code == 2
    assert "webdataset" in ended.err
