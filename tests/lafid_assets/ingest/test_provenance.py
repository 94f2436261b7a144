"""What a folder says of itself becomes columns; nothing is guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.provenance import OPENHUMANVID, SOURCE_FILE, UNSTATED, Provenance, SourceUnusable, read_provenance


def test_silent_folder_is_taken_for_what_it_looks_like(tmp_path: Path) -> None:
    assert read_provenance(tmp_path, OPENHUMANVID) == OPENHUMANVID
    assert UNSTATED.licence == "unstated"


def test_folder_speaks_for_itself(tmp_path: Path) -> None:
    (tmp_path / SOURCE_FILE).write_text('{"source": "ours", "licence": "CC-BY-4.0"}')
    assert read_provenance(tmp_path, UNSTATED) == Provenance(source="ours", licence="CC-BY-4.0")


@pytest.mark.parametrize("content", ["", "{}", '{"source": "ours"}', '{"source": "ours", "licence": ""}', "[]"])
def test_broken_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / SOURCE_FILE).write_text(content)
    with pytest.raises(SourceUnusable, match=f"{SOURCE_FILE}.*or remove it"):
        read_provenance(tmp_path, UNSTATED)


def test_every_clip_carries_it(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "clip.mp4")
    (tmp_path / SOURCE_FILE).write_text('{"source": "ours", "licence": "CC-BY-4.0"}')
    assert list_files(tmp_path).select("source", "licence").rows() == [("ours", "CC-BY-4.0")]
