"""`lafid precompute`: every process encodes its share, the first one tells and writes the rows."""

from types import SimpleNamespace
from typing import Any

import pytest

from lafid_assets.cli import precompute as module
from lafid_assets.cli.materialize import Materializer, RunFailed, open_materializer
from lafid_assets.cli.precompute import materialize_latents, run_precompute
from lafid_assets.training.precompute import Rank
from lafid_assets.training.training_latents import TrainingLatentsConfig
from resources.leases.leases import StoreBusy
from resources.settings import Settings


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (0, 3), (2, 3)])
def test_each_rank_encodes_its_share_and_the_first_writes_the_rows(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: int, world: int
) -> None:
    done: list[Any] = []
    if world > 1:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
    config = TrainingLatentsConfig(preset="tiny", semantic_encoder=None)
    monkeypatch.setattr(module, "encoding_of", lambda asked, store: asked)
    monkeypatch.setattr(module, "expected", lambda lake, encoding, world: f"all of it by {world}")
    monkeypatch.setattr(module, "encode_share", lambda lake, encoding, rank: done.append((encoding, rank)))
    monkeypatch.setattr(module, "_wait_for_all", lambda rank: done.append("waited"))

    def materialize(materializer: Materializer, config: TrainingLatentsConfig) -> None:
        done.append(config)
        with pytest.raises(StoreBusy, match="lafid precompute"), materializer.lake.leases.alone("lafid sweep"):
            pass

    monkeypatch.setattr(module, "materialize_latents", materialize)
    run_precompute(settings, "tiny", None)
    assert done == [(config, Rank(rank, world)), "waited", *([config] if rank == 0 else [])]
    assert (f"all of it by {world}" in capsys.readouterr().out) == (rank == 0)


def test_a_run_that_fails_keeps_no_other_from_its_rows(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that do not follow each other are runs of their own."""
    ran: list[list[str]] = []

    def run(_: Any, assets: Any, label: str, *, partitions: list[str], ops: Any) -> None:
        ran.append(partitions)
        if "a" in partitions:
            raise RunFailed("training_latents (a) failed")

    monkeypatch.setattr(module, "dataset_shards", lambda lake: ["a", "c"])
    monkeypatch.setattr(Materializer, "know", lambda _: ["a", "b", "c"])
    monkeypatch.setattr(Materializer, "run", run)
    materializer = open_materializer(settings)
    with pytest.raises(RunFailed, match=r"training_latents \(a\) failed"):
        materialize_latents(materializer, TrainingLatentsConfig(preset="tiny", semantic_encoder=None))
    assert ran == [["a"], ["c"]]


def test_a_cluster_encodes_in_its_runs_and_not_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[Any] = []
    opened = open_materializer(settings)
    opened.cluster = SimpleNamespace()  # type: ignore[assignment]
    monkeypatch.setattr(module, "open_materializer", lambda _: opened)
    monkeypatch.setattr(module, "encode_share", lambda *_: done.append("here"))
    monkeypatch.setattr(module, "expected_of_cluster", lambda lake, preset: f"all of it for {preset}")
    monkeypatch.setattr(module, "materialize_latents", lambda materializer, config: done.append(config))
    run_precompute(settings, "tiny", None)
    assert done == [TrainingLatentsConfig(preset="tiny", semantic_encoder=None)]
    assert "all of it for tiny" in capsys.readouterr().out
