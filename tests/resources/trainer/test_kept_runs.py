"""Runs in a store on S3: what is whole there is taken up, what goes here goes there, and a store that is away ends nothing."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources.store.file_store import FileStore, StoreUnusable
from resources.trainer.job import RUNS_FOLDER
from resources.trainer.kept_runs import KeptRuns

Node = Callable[[str], KeptRuns]
RUN = f"{RUNS_FOLDER}/abc"


@pytest.fixture
def node(bucket: str, tmp_path: Path) -> Node:
    """What a node of that name keeps its runs by."""
    return lambda name: KeptRuns(FileStore(f"s3://{bucket}/lafid", tmp_path / name))


def _lay(kept: KeptRuns, *names: str) -> Path:
    run_dir = kept.store.here(RUN)
    for name in names:
        path = run_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return run_dir


def _files(run_dir: Path) -> set[str]:
    return {path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file()}


def test_what_is_half_put_is_not_taken_up(node: Node) -> None:
    one, two = node("one"), node("two")
    whole = {"state/step-2/state.json", "state/step-2/x.bin", "checkpoints/step-2/lafid.json", "checkpoints/step-2/x.bin"}
    one.keep(_lay(one, *whole, "state/step-4/x.bin", "checkpoint/x.bin", "validation/step-2/a.mp4", ".half/x.bin"))
    run_dir = two.store.here(RUN)
    two.fetch(run_dir)
    assert _files(run_dir) == {*whole, "validation/step-2/a.mp4"}


def test_what_goes_here_goes_there_and_what_another_has_made_stays(node: Node) -> None:
    one, two = node("one"), node("two")
    one.keep(_lay(one, "state/step-2/state.json", "state/step-4/state.json"))
    two.fetch(two.store.here(RUN))
    two.keep(_lay(two, "state/step-6/state.json"))
    (one.store.here(RUN) / "state/step-2/state.json").unlink()
    one.keep(one.store.here(RUN))
    assert one.store.list_tree(RUN) == [f"{RUN}/state/step-{step}/state.json" for step in (4, 6)]


def test_store_that_is_away_ends_no_training(
    node: Node, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = node("one")
    run_dir = _lay(one, "state/step-2/state.json")

    def away(*_: Any) -> None:
        raise StoreUnusable("cannot write s3://away")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, "lafid.training"):
        patched.setattr(FileStore, "put", away)
        one.keep(run_dir)
    assert "is not kept beyond this machine yet: cannot write s3://away; it is tried again" in caplog.text
    one.keep(run_dir)
    assert one.store.list_tree(RUN) == [f"{RUN}/state/step-2/state.json"]
