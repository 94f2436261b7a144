"""What a folder says of itself becomes columns; nothing is guessed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lafid_assets.ingest.listing import list_files
from lafid_assets.ingest.provenance import OPENHUMANVID, SOURCE_FILE, UNSTATED, Provenance, SourceUnusable, read_provenance


def test_silent_folder_is_taken_for_what_it_looks_like() -> None:
    assert read_provenance(None, "/clips", OPENHUMANVID) == OPENHUMANVID
    assert UNSTATED.licence == "unstated"


def test_folder_speaks_for_itself() -> None:
    said = b'{"source": "ours", "licence": "CC-BY-4.0"}'
    assert read_provenance(said, "/clips", UNSTATED) == Provenance(source="ours", licence="CC-BY-4.0")


@pytest.mark.parametrize("content", ["", "{}", '{"source": "ours"}', '{"source": "ours", "licence": ""}', "[]"])
def test_broken_file_is_refused(content: str) -> None:
    with pytest.raises(SourceUnusable, match=f"/clips/{SOURCE_FILE}.*or remove it"):
        read_provenance(content.encode(), "/clips", UNSTATED)


def test_every_clip_carries_it(tmp_path: Path, write_video: Callable[..., Path]) -> None:
    write_video(tmp_path / "clip.mp4")
    (tmp_path / SOURCE_FILE).write_text('{"source": "ours", "licence": "CC-BY-4.0"}')
    assert list_files(tmp_path).select("source", "licence").rows() == [("ours", "CC-BY-4.0")]
