"""`fusion_dit`: the training loop itself is tested in `model`; here what the asset makes of it."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest

from lafid_assets.definitions import build_resources
from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training.fusion_dit import FusionDitConfig, fusion_dit
from resources.settings import Settings
from resources.shard_store import ShardStore


def test_config_changes_only_what_it_names() -> None:
    from model.presets import preset

    assert FusionDitConfig().resolved() == preset("tiny")
    changed = FusionDitConfig(steps=3, seed=7, trainable="adapter").resolved()
    assert (changed.train.steps, changed.train.seed, changed.train.trainable) == (3, 7, "adapter")
    assert changed.train.model_copy(update=preset("tiny").train.model_dump()) == preset("tiny").train


@pytest.mark.parametrize("wrong", [{"preset": "huge"}, {"trainable": "nothing"}])
def test_unknown_names_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        FusionDitConfig(**wrong).resolved()


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Stands in for the minutes of training; notes what it was asked to do."""
    import model.train

    asked: list[Any] = []

    def train(chosen: Any, files: list[Path], base: Path, runs: Path, report: Any, *, dataset_version: str) -> Any:
        asked.append((chosen.train.steps, [path.name for path in files], base.name, dataset_version))
        folder = runs / f"run-{len(asked)}"
        folder.mkdir(parents=True)
        (folder / "lafid.json").write_text("{}")
        report(SimpleNamespace(step=1, steps=2, loss=0.5, seconds=1.0))
        return SimpleNamespace(checkpoint_dir=folder, steps=chosen.train.steps, loss_before=1.0, loss_after=0.5)

    monkeypatch.setattr(model.train, "train", train)
    return asked


def test_only_train_clips_train_and_a_lost_checkpoint_is_made_again(
    settings: Settings, store: ShardStore, row_of: Any, trainings: list[Any]
) -> None:
    rows = [
        row_of(TRAINING_LATENTS, clip_id=clip, latents_path=f"latents/{clip}.safetensors", split=split, dataset_version="v1")
        for clip, split in (("a", "train"), ("b", "test"), ("c", "validation"), ("d", "train"))
    ]
    store.write_group({"training_latents": TRAINING_LATENTS.frame(rows)}, "all", "f")
    instance = dg.DagsterInstance.ephemeral()

    def run(**config: Any) -> pl.DataFrame:
        ops = {"ops": {"fusion_dit": {"config": config}}}
        assert dg.materialize([fusion_dit], instance=instance, resources=build_resources(settings), run_config=ops).success
        return store.read_table("fusion_dit")

    row = run().row(0, named=True)
    assert trainings == [(120, ["a.safetensors", "d.safetensors"], "tiny", "v1")]
    assert (row["train_clips"], row["loss_before"], row["loss_after"], row["dataset_version"]) == (2, 1.0, 0.5, "v1")
    assert store.exists(f"{row['checkpoint_path']}/lafid.json")
    run()
    assert len(trainings) == 1
    store.local_path(f"{row['checkpoint_path']}/lafid.json").unlink()
    run()
    assert len(trainings) == 2
    run(steps=5)
    assert trainings[-1][0] == 5
