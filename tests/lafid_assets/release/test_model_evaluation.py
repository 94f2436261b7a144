"""The asset around its kernel: what is asked of it, what the UI shows, when it is done again."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import polars as pl
import pytest

import lafid_assets.release.model_evaluation as asset_module
from lafid_assets.release.model_evaluation import model_evaluation
from lafid_assets.schemas import EVALUATED_CLIPS, FUSION_DIT, LAFID_DATASET, MODEL_EVALUATION, TRAINING_LATENTS
from lafid_assets.training.cached_clips import NotPrecomputed
from resources.lake import Lake

Rows = Callable[..., dict[str, Any]]
BOX = dict.fromkeys(("box_x1", "box_y1", "box_x2", "box_y2"), 8.0) | {"mask": "oval", "mask_sha256": ""}


@pytest.fixture
def released(lake: Lake, row_of: Rows) -> Lake:
    """A checkpoint, and three cached clips that it never saw, of two persons."""
    dataset, latents = [], []
    for clip, person, split in (("a", "p", "test"), ("b", "p", "test"), ("c", "q", "test"), ("d", "r", "train")):
        dataset.append(row_of(LAFID_DATASET, clip_id=clip, identity_id=person, split=split, references=[BOX]))
        place = {"frames": 9, "height": 64, "width": 64, "start_s": 0.0, "fps": 8.0}
        latents.append(row_of(TRAINING_LATENTS, clip_id=clip, split=split, status="ok", semantic_encoder="/clip", **place))
    trained = row_of(FUSION_DIT, checkpoint_sha256="abc", checkpoint_path="run", base_path="base", preset="tiny")
    for table, rows, partition in (
        (LAFID_DATASET, dataset, "all"),
        (TRAINING_LATENTS, latents, "x"),
        (FUSION_DIT, [trained], "all"),
    ):
        lake.put({table.name: table.frame(rows)}, partition, "f")
    return lake


def test_it_asks_for_clips_by_config_and_tries_again_what_failed(
    released: Lake, row_of: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    status = ["error"]

    def evaluate(measured: Any, chosen: Any, cached: Any, deadline_s: float, processes: int) -> dict[str, pl.DataFrame]:
        asked.append((measured, {split: [one.clip["clip_id"] for one in clips] for split, clips in chosen.items()}, cached))
        known = {"checkpoint_sha256": "abc", "split": "test"}
        line = row_of(EVALUATED_CLIPS, clip_id="a", status=status[0], reason="crashed" if status[0] == "error" else None, **known)
        rows = [row_of(MODEL_EVALUATION, metric="likeness", value=0.5, **known)]
        return {"model_evaluation": MODEL_EVALUATION.frame(rows), "evaluated_clips": EVALUATED_CLIPS.frame([line])}

    monkeypatch.setattr(asset_module, "evaluate", evaluate)

    def run() -> dict[str, Any]:
        config = {"ops": {"model_evaluation": {"config": {"clips": 2, "drawing": {"low_memory": True}}}}}
        done = dg.materialize([model_evaluation], resources={"lake": released}, run_config=config)
        [event] = done.asset_materializations_for_node("model_evaluation")
        return dict(event.metadata)

    shown = run()
    measured, chosen, cached = asked[0]
    assert (measured.checkpoint_sha256, measured.checkpoint_path, measured.base_path) == ("abc", "run", "base")
    assert (measured.drawing.low_memory, str(measured.drawing.semantic_dir)) == (True, "/clip")
    assert (chosen, cached) == ({"test": ["a", "c"]}, {"test": 3})
    assert shown["test_likeness"].value == 0.5
    assert shown["clips"].value.records[0].data["clip_id"] == "a"
    status[0] = "ok"
    assert run()["computed"].value is True, "the clip that failed is missing"
    assert run()["computed"].value is False
    assert len(asked) == 2


def test_clips_of_another_presets_sizes_are_refused(released: Lake) -> None:
    """Precomputed for another model since: what is drawn and measured of them would be nobody's."""
    other = released.read(TRAINING_LATENTS.name).with_columns(fps=pl.lit(16.0))
    released.put({TRAINING_LATENTS.name: other}, "x", "g")
    with pytest.raises(NotPrecomputed, match="4 of 4 clips are .* those of x: run `lafid precompute --preset tiny`"):
        dg.materialize([model_evaluation], resources={"lake": released})
