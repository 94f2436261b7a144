"""A shot is forgotten without its recording, and a recording with all its shots."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.dataset.crops import folder_of
from lafid_assets.dataset.forget.erase import Eraser
from lafid_assets.dataset.forget.subject import NobodyToForget, identify
from lafid_assets.ingest.tombstones import Tombstones, pseudonym
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.tracking import Tracking

FILM, FIRST, SECOND, OTHER = (hashlib.sha256(name.encode()).hexdigest()[:32] for name in ("film", "first", "second", "other"))
CONTENT = f"sha-{FILM}"


@pytest.fixture
def shots(
    lake: Lake, settings: Settings, curated: Callable[..., Any], as_pieces: Callable[..., Any], keep_in: Any, tmp_path: Path
) -> Callable[[str], Any]:
    """Two shots of a film and a clip, a person each, kept in a version, with pictures; gives what forgetting one does."""
    tables = curated({FIRST: FIRST, SECOND: SECOND, OTHER: OTHER}, str(tmp_path / "footage"))
    keep_in(lake, as_pieces(tables, FILM, [FIRST, SECOND]), tmp_path)
    for number in range(2):
        lake.store.write_bytes(f"{folder_of(CONTENT, (10 * number, 10 * number + 9))}/0-face.png", b"picture")

    def forget(clip: str) -> Any:
        subject = identify(lake, [clip], [], delete_files=False)
        tracking = Tracking("sqlite:////no/such/mlflow.db", settings.mlflow_artifacts)
        return subject, Eraser(settings, lake, subject, tracking, dry_run=False).run()

    return forget


def _named_in_the_home(settings: Settings, *texts: str) -> list[str]:
    files = [path for path in settings.home.rglob("*") if path.is_file()]
    return [str(path) for path in files if any(text.encode() in path.read_bytes() or text in str(path) for text in texts)]


def test_a_shot_goes_and_its_recording_and_the_other_shot_stay(shots: Any, lake: Lake, settings: Settings) -> None:
    subject, _ = shots(FIRST)
    assert (subject.clip_ids, subject.contents, subject.intervals) == ((FIRST,), (), ((CONTENT, 0, 9),))
    assert [Path(path).name for path in subject.recordings] == [FILM]
    assert lake.store.list_tree("crops") == [f"{folder_of(CONTENT, (10, 19))}/0-face.png"]
    left = {row["clip_id"]: row for row in lake.sql("FROM pieces").to_dicts()}
    assert set(left) == {pseudonym(FIRST), SECOND}
    assert (left[pseudonym(FIRST)]["reason"], left[pseudonym(FIRST)]["first_pts"]) == ("forgotten", None)
    ended = dict(lake.sql("SELECT clip_id, coalesce(reason, status) FROM raw_clips").rows())
    assert ended == {FILM: "ok", pseudonym(FIRST): "forgotten", SECOND: "ok", OTHER: "ok"}
    assert set(lake.read("lafid_dataset")["clip_id"]) == {SECOND, OTHER}
    lake.close()
    assert _named_in_the_home(settings, FIRST) == []
    tombstones = Tombstones(lake.store)
    assert not tombstones.know_content(CONTENT)
    assert tombstones.know_part_of({"content_sha256": CONTENT})
    with pytest.raises(NobodyToForget):
        shots("0" * 32)


def test_a_recording_goes_with_all_its_shots(shots: Any, lake: Lake, settings: Settings) -> None:
    subject, _ = shots(FILM)
    assert set(subject.clip_ids) == {FILM, FIRST, SECOND}
    assert (subject.contents, subject.intervals, subject.recordings) == ((CONTENT,), (), ())
    assert lake.store.list_tree("crops") == []
    assert lake.sql("FROM pieces").is_empty()
    assert set(lake.read("lafid_dataset")["clip_id"]) == {OTHER}
    assert set(lake.sql("SELECT clip_id FROM raw_clips")["clip_id"]) == {pseudonym(FILM), OTHER}
    lake.close()
    assert _named_in_the_home(settings, FILM, FIRST, SECOND) == []
