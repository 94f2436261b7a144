"""Four forms, resumed where they were interrupted, checked after they were written."""

import dataclasses
import hashlib
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest

from lafid_assets.dataset.export import export as module
from lafid_assets.dataset.export.export import DestinationUnusable, ExportBroken, ExportManifest, check_export, export_version
from lafid_assets.dataset.export.formats import FORMATS
from lafid_assets.dataset.export.licences import LicenceRefused
from lafid_assets.dataset.export.samples import ClipGone, file_name, read_clip
from lafid_assets.ingest.clip_root import root_at
from lafid_assets.ingest.openhumanvid import read_table
from resources.store.file_store import FileStore

Version = Callable[..., Any]
PERSONS = {"a": "p", "b": "p", "c": "q", "d": None, "e": "r"}
KEPT = ["a", "b", "c", "e"]


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_csv_is_the_released_list(version: Version, dest: Path) -> None:
    kept = version(PERSONS)
    manifest = export_version(*kept, "csv", dest)
    text = (dest / "lafid_dataset.csv").read_text()
    assert text.startswith("clip_id,path,caption,")
    assert read_table(root_at(dest), "lafid_dataset.csv")["caption"].to_list() == [f"caption of {clip}" for clip in KEPT]
    assert str(kept.lake.home.parent) not in text, "no folder of this machine"
    assert (manifest.complete, manifest.clips, manifest.licences) == (True, 4, ("CC0-1.0",))
    assert manifest == ExportManifest.model_validate_json((dest / "lafid_export.json").read_bytes())
    assert manifest.model_licences == ("dlib: non-commercial-research",)


def test_parquet_has_references_with_their_angles(version: Version, dest: Path) -> None:
    export_version(*version(PERSONS), "parquet", dest)
    table = pl.read_parquet(dest / "lafid_dataset.parquet")
    assert table["clip_id"].to_list() == KEPT
    reference = table["references"][0][1]
    assert (reference["yaw_deg"], reference["frame_index"], reference["mask"]) == (-20.0, 0, "oval")
    assert not {"face_path", "head_path"} & set(reference)
    assert not {"identity_embedding", "clip_root"} & set(table.columns)


def test_webdataset_holds_clips_captions_facts_and_pictures(version: Version, dest: Path) -> None:
    kept = version(PERSONS)
    manifest = export_version(*kept, "webdataset", dest, clips_per_shard=1)
    assert sum(file.path.endswith(".tar") for file in manifest.files) == 4
    by_clip = {row["clip_id"]: row for row in kept.lake.read("dataset_version_rows").iter_rows(named=True)}
    seen = []
    for file in manifest.files:
        with tarfile.open(dest / file.path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive.getmembers()}  # type: ignore[union-attr]
            assert {member.mtime for member in archive.getmembers()} == {0}
        clip = next(name for name in members if name.endswith(".json")).removesuffix(".json")
        seen.append(clip)
        assert set(members) == {f"{clip}.{end}" for end in ("mp4", "txt", "json", "0.face.png", "0.head.png")}
        assert hashlib.sha256(members[f"{clip}.mp4"]).hexdigest() == by_clip[clip]["content_sha256"]
        assert members[f"{clip}.txt"] == f"caption of {clip}".encode()
        assert members[f"{clip}.0.face.png"] == f"picture of {clip}".encode()
        facts = json.loads(members[f"{clip}.json"])
        assert file.path.startswith(f"{facts['split']}-0000")
        assert len(facts["references"]) == 3
    assert sorted(seen) == KEPT


def test_same_rows_give_the_same_bytes(version: Version, dest: Path, tmp_path: Path) -> None:
    kept = version(PERSONS)
    first = export_version(*kept, "webdataset", dest)
    second = export_version(*kept, "webdataset", tmp_path / "again")
    assert first == second


def test_hf_folder_names_its_splits_and_holds_files(version: Version, dest: Path) -> None:
    kept = version(PERSONS)
    manifest = export_version(*kept, "hf", dest)
    card = (dest / "README.md").read_text()
    assert "Measured by: dlib: non-commercial-research." in card
    found = []
    for file in manifest.files:
        table = pq.read_table(dest / file.path).to_pylist()
        split = file.path.split("/")[1].split("-")[0]
        assert f"  - split: {split}\n    path: data/{split}-*.parquet\n" in card
        assert {row["split"] for row in table} == {split}
        found += table
    assert sorted(row["clip_id"] for row in found) == KEPT
    row = next(row for row in found if row["clip_id"] == "a")
    assert hashlib.sha256(row["video"]["bytes"]).hexdigest() == row["content_sha256"]
    assert row["video"]["path"] == "a.mp4"
    assert [(p["kind"], p["image"]["bytes"]) for p in row["reference_pictures"]] == [
        ("face", b"picture of a"),
        ("head", b"picture of a"),
    ]


def test_terms_of_models_are_a_gate_too(version: Version, dest: Path) -> None:
    kept = version(PERSONS, {"b": "my-whisper"})
    with pytest.raises(LicenceRefused, match=r"1 clips were measured by models .*unstated of my-whisper \(1 clips: b\)"):
        export_version(*kept, "csv", dest)
    assert not dest.exists()
    left = export_version(*kept, "csv", dest, skip_refused=True)
    assert (left.clips, left.refused_clips) == (3, 1)
    allowed = export_version(*kept, "csv", dest, also_allowed_models=["Unstated"])
    assert (allowed.clips, allowed.also_allowed_models) == (4, ("Unstated",))


@pytest.mark.parametrize("form", FORMATS)
def test_refused_rows_stop_the_export_or_stay_behind(version: Version, dest: Path, form: str) -> None:
    kept = version(PERSONS, b="CC-BY-NC-ND-4.0")
    with pytest.raises(LicenceRefused, match=r"1 clips have .*CC-BY-NC-ND-4.0 \(1 clips: b\)"):
        export_version(*kept, form, dest)
    assert not dest.exists()
    manifest = export_version(*kept, form, dest, skip_refused=True)
    assert (manifest.clips, manifest.refused_clips) == (3, 1)
    if form == "parquet":
        table = pl.read_parquet(dest / "lafid_dataset.parquet")
        assert table["cross_references"].to_list() == [[], [], []], "a points to b, which stays"
    allowed = export_version(*kept, form, dest, also_allowed=["CC-BY-NC-ND-4.0"])
    assert (allowed.clips, allowed.also_allowed) == (4, ("CC-BY-NC-ND-4.0",))


def _part_of(temporary: Path) -> str:
    """The file that is written under a temporary name."""
    return f"{temporary.name.split('.')[1]}{temporary.suffix}"


def test_interrupted_export_goes_on(version: Version, dest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = version(PERSONS)
    made: list[str] = []
    write = FORMATS["webdataset"].write

    def breaking(pages: Any, target: Path, of: FileStore) -> None:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(_part_of(target))
        write(pages, target, of)

    form = module.FORMATS["webdataset"]
    monkeypatch.setitem(module.FORMATS, "webdataset", dataclasses.replace(form, write=breaking))
    with pytest.raises(KeyboardInterrupt):
        export_version(*kept, "webdataset", dest, clips_per_shard=1)
    assert not ExportManifest.model_validate_json((dest / "lafid_export.json").read_bytes()).complete
    first, second = made
    (dest / second).write_bytes(b"broken meanwhile")
    made.clear()

    def noting(pages: Any, target: Path, of: FileStore) -> None:
        made.append(_part_of(target))
        write(pages, target, of)

    monkeypatch.setitem(module.FORMATS, "webdataset", dataclasses.replace(form, write=noting))
    resumed = export_version(*kept, "webdataset", dest, clips_per_shard=1)
    assert first not in made, "finished before, and unharmed"
    assert second in made, "its hash is not what it was"
    assert len(made) == 3
    assert resumed == export_version(*kept, "webdataset", tmp_path / "fresh", clips_per_shard=1)


def test_shards_of_other_options_do_not_stay(version: Version, dest: Path) -> None:
    kept = version(PERSONS)
    many = export_version(*kept, "webdataset", dest, clips_per_shard=1)
    few = export_version(*kept, "webdataset", dest, clips_per_shard=100)
    assert len(few.files) < len(many.files)
    assert {path.name for path in dest.glob("*.tar")} == {file.path for file in few.files}


@pytest.mark.parametrize("form", FORMATS)
def test_rows_come_a_page_at_a_time(
    version: Version, dest: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = version(PERSONS)
    at_once = export_version(*kept, form, tmp_path / "at once")
    monkeypatch.setattr(module, "CLIPS_A_PAGE", 1)
    paged = export_version(*kept, form, dest)
    assert paged.clips == at_once.clips == 4
    suffix = FORMATS[form].suffix
    for file in paged.files:
        one, other = ((folder / file.path) for folder in (dest, tmp_path / "at once"))
        assert (
            pl.read_parquet(one).equals(pl.read_parquet(other))
            if suffix == ".parquet"
            else one.read_bytes() == other.read_bytes()
        )


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_to_pass_on_is_an_export_too(version: Version, dest: Path, form: str) -> None:
    manifest = export_version(*version({"a": None}), form, dest)
    assert (manifest.complete, manifest.clips) == (True, 0)


def test_damage_is_noticed(version: Version, dest: Path) -> None:
    manifest = export_version(*version(PERSONS), "csv", dest)
    (dest / "lafid_dataset.csv").write_text("clip_id\na\n")
    with pytest.raises(ExportBroken, match=r"lafid_dataset.csv does not read back as it was written: remove it"):
        check_export(dest, manifest)
    again = export_version(*version(PERSONS), "csv", dest)
    with pytest.raises(ExportBroken, match="holds 4 clips of 5"):
        check_export(dest, again.model_copy(update={"clips": 5}))


@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(b"other")])
def test_clip_that_is_not_what_was_curated_is_named(
    own_version: Version, dest: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    kept = own_version(PERSONS)
    change(kept.lake.home.parent / "footage" / "c")
    with pytest.raises(ClipGone, match=r"the file c of clip c (is missing|has changed since it was curated): put it back"):
        export_version(*kept, "webdataset", dest)
    assert export_version(*kept, "csv", tmp_path / "table").clips == 4, "a table needs no files"


def test_folder_with_something_else_is_left_alone(version: Version, dest: Path) -> None:
    kept = version(PERSONS)
    export_version(*kept, "csv", dest)
    with pytest.raises(DestinationUnusable, match=f"holds version {kept.facts['dataset_version']} as csv: name another folder"):
        export_version(*kept, "parquet", dest)
    with pytest.raises(DestinationUnusable, match="holds version"):
        export_version(*version({"a": "p"}), "csv", dest)
    with pytest.raises(DestinationUnusable, match="is not an empty folder"):
        export_version(*kept, "csv", kept.lake.home)


def test_what_stands_after_a_dot_is_a_suffix_only_where_videos_have_it(tmp_path: Path) -> None:
    for name, suffix in (("a", ".mp4"), ("a.MOV", ".mov"), ("anna.smith at home", ".mp4"), ("a.1", ".mp4")):
        (tmp_path / name).write_bytes(b"video")
        row = {"clip_id": "a", "clip_root": str(tmp_path), "path": name, "content_sha256": hashlib.sha256(b"video").hexdigest()}
        assert read_clip(row | dict.fromkeys(("first_pts", "last_pts", "keyframe_pts", "start_s"))) == (suffix, b"video")


def test_unsafe_ids_become_safe_file_names(version: Version, dest: Path) -> None:
    assert file_name("0123abcDEF_-") == "0123abcDEF_-"
    for strange in ("../up", "a.b", "", "x" * 200, "a/b"):
        assert len(file_name(strange)) == 32
