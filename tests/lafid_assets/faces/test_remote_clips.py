"""A shard whose clips lie on S3: one that cannot be fetched fails alone, and one whose file goes meanwhile is fetched again."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lafid_assets.faces import shard_analysis
from lafid_assets.faces.clip_analysis import AnalysedClip, ClipTask
from lafid_assets.faces.shard_analysis import analyse_shard
from lafid_assets.ingest.clip_prefetch import object_at
from lafid_assets.outcomes import Reason, Status
from lafid_assets.workers.pool import Ending, NotFetched
from model.encoding.footage import RemoteFile, file_of
from resources.store import s3_objects
from tests.lafid_assets.faces.played import Folder, endings, recipe, without_children


@pytest.mark.usefixtures("bookkeeping")
def test_a_clip_that_cannot_be_fetched_has_its_error_and_is_tried_again(
    clips: Any, ledger: Any, reach: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(work: Any, tasks: Sequence[ClipTask], *_: object, **__: object) -> Iterator[tuple[int, Ending[AnalysedClip]]]:
        yield from without_children(work, tasks[:-1])
        yield len(tasks) - 1, NotFetched("s3://clips/b is refused", is_missing=False)

    of = recipe()
    with monkeypatch.context() as patched:
        patched.setattr(shard_analysis, "map_footage", gone)
        first = analyse_shard(clips("a", "b"), of, ledger(of), reach)
    assert endings(first) == {"a": ("ok", None, 1), "b": ("error", "not_fetched", 1)}
    ledger(of).clear()
    second = analyse_shard(clips("a", "b"), of, ledger(of), reach, first)
    assert endings(second) == {"a": ("ok", None, 1), "b": ("ok", None, 2)}


def take_away(task: ClipTask) -> AnalysedClip:
    """Runs in a child: the first time somebody empties the folder of fetched files meanwhile."""
    path = file_of(task.footage)
    told = Path(f"{task.clip_id}.told")
    if not told.exists():
        told.touch()
        path.unlink()
        return AnalysedClip(Status.ERROR, Reason.DECODE_FAILED, "no such file", "survey", None, False, 3)
    return AnalysedClip(Status.OK, None, None, "survey", None, False, len(path.read_bytes()))


def test_a_fetched_file_that_somebody_removes_in_mid_run_costs_its_clip_nothing(
    clips: Any, ledger: Any, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAFID_HOME", str(tmp_path / "home"))
    s3_objects.client().put_object(Bucket=bucket, Key="a.mp4", Body=b"a")
    monkeypatch.setattr(shard_analysis, "analyse_clip", take_away)
    asked: list[int] = []

    def reach(clip_ids: Collection[str]) -> dict[str, RemoteFile]:
        asked.append(len(clip_ids))
        return {clip_id: object_at(f"s3://{bucket}/a.mp4", 1) for clip_id in clip_ids}

    of, name = recipe(), str(tmp_path / "a")
    frames = analyse_shard(clips(name), of, ledger(of), reach)
    assert endings(frames) == {name: ("ok", None, 1)}
    assert asked == [1, 1]
