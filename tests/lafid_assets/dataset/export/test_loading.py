"""What was exported, read by the libraries that it is meant for."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lafid_assets.dataset.export.export import export_version

PERSONS = {"a": "p", "b": "p", "c": "q", "e": "r", "no-face": None, "f.with dots": "s"}
KEPT = sorted(clip for clip, person in PERSONS.items() if person)


@pytest.fixture
def kept(own_version: Callable[..., Any]) -> Any:
    """A version whose reference pictures are real ones."""
    made = own_version(PERSONS)
    for clip in KEPT:
        made.lake.store.write_bytes(f"crops/{clip}.png", _picture(clip))
    return made


def _picture(clip: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), len(clip) * 20, np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def test_datasets_loads_the_hf_folder(kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    export_version(*kept, "hf", tmp_path / "hf", clips_per_shard=2)
    loaded = datasets.load_dataset(str(tmp_path / "hf"), cache_dir=str(tmp_path / "cache"))
    kept_rows = kept.lake.read("dataset_version_rows")
    by_clip = {row["clip_id"]: row for row in kept_rows.iter_rows(named=True)}
    assert {split: sorted(rows["clip_id"]) for split, rows in loaded.items()} == {
        split: sorted(rows["clip_id"]) for (split,), rows in kept_rows.group_by("split")
    }
    rows = [row for split in loaded.values() for row in split]
    assert sorted(row["clip_id"] for row in rows) == KEPT
    for row in rows:
        assert hashlib.sha256(row["video"]["bytes"]).hexdigest() == by_clip[row["clip_id"]]["content_sha256"]
        assert row["caption"] == f"caption of {row['clip_id']}"
        assert (row["licence"], row["model_licences"]) == ("CC0-1.0", ["dlib: non-commercial-research"])
        assert [reference["yaw_deg"] for reference in row["references"]] == [0.0, -20.0, 20.0]
        assert [picture["image"]["bytes"] for picture in row["reference_pictures"]] == [_picture(row["clip_id"])] * 2
    split = next(iter(loaded.values()))
    assert split.cast_column("video", datasets.Video(decode=False))[0]["video"]["bytes"] == split[0]["video"]["bytes"]


def test_webdataset_reads_the_shards(kept: Any, tmp_path: Path) -> None:
    import webdataset

    manifest = export_version(*kept, "webdataset", tmp_path / "shards", clips_per_shard=2)
    urls = [str(tmp_path / "shards" / file.path) for file in manifest.files]
    samples: list[dict[str, Any]] = list(webdataset.WebDataset(urls, shardshuffle=False).decode("rgb8"))
    assert sorted(sample["json"]["clip_id"] for sample in samples) == KEPT
    for sample in samples:
        facts = sample["json"]
        assert hashlib.sha256(sample["mp4"]).hexdigest() == facts["content_sha256"]
        assert sample["txt"] == facts["caption"] == f"caption of {facts['clip_id']}"
        assert sample["0.face.png"].shape == sample["0.head.png"].shape == (4, 6, 3)
        assert len(facts["references"]) == 3
