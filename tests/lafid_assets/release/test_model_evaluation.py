"""The asset around its kernel: what is asked of it, whom it compares with, what the UI shows, when it is done again."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import polars as pl
import pytest

import lafid_assets.release.draw_evaluation as share_module
import lafid_assets.release.evaluation_plan as plan_module
import lafid_assets.release.model_evaluation as asset_module
from lafid_assets.release.bench_folder import folder_of
from lafid_assets.release.champion import Rival
from lafid_assets.release.model_evaluation import model_evaluation
from lafid_assets.release.model_files import ModelFiles, ModelMissing
from lafid_assets.schemas import (
    EVALUATED_FRAMES,
    EVALUATED_VIDEOS,
    FUSION_DIT,
    LAFID_BENCH,
    LAFID_DATASET,
    MODEL_EVALUATION,
    TABLES,
    TRAINING_LATENTS,
)
from model.evaluation.bench import seal_bench, write_bench
from resources.lake.catalog import Catalog
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore
from resources.tracking import RegisteredVersion, TrackingUnreachable
from tests.model.evaluation.benches import small_facts

Rows = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.usefixtures("quick_curves")
BOX = dict.fromkeys(("box_x1", "box_y1", "box_x2", "box_y2"), 8.0) | {"mask": "oval", "mask_sha256": ""}
NOBODY = SimpleNamespace(is_there=False)


@pytest.fixture
def released(lake: Lake, row_of: Rows) -> Lake:
    """A checkpoint, cached clips that it never saw, and a bench of three persons; the second cannot be drawn at first."""
    return _release(lake, row_of)


def _release(lake: Lake, row_of: Rows, *, bench: bool = True) -> Lake:
    dataset, latents = [], []
    for clip, split in (("a", "test"), ("b", "test"), ("c", "train")):
        dataset.append(row_of(LAFID_DATASET, clip_id=clip, split=split, references=[BOX]))
        place = {"frames": 9, "height": 64, "width": 64, "start_s": 0.0, "fps": 8.0}
        latents.append(row_of(TRAINING_LATENTS, clip_id=clip, split=split, status="ok", semantic_encoder="/clip", **place))
    trained = row_of(FUSION_DIT, checkpoint_sha256="ours", checkpoint_path="run", base_path="base", preset="tiny")
    for table, rows, partition in (
        (LAFID_DATASET, dataset, "all"),
        (TRAINING_LATENTS, latents, "x"),
        (FUSION_DIT, [trained], "all"),
    ):
        lake.put({table.name: table.frame(rows)}, partition, "f")
    if bench:
        _put_bench(lake, row_of)
    return lake


def _put_bench(lake: Lake, row_of: Rows) -> None:
    facts, pictures = small_facts(persons=3)
    bench = seal_bench(facts, pictures)
    folder = folder_of(bench.version)
    write_bench(lake.store.here(folder), bench, pictures)
    lake.store.put(folder)
    known = {"bench_version": bench.version, "bench_path": folder, "status": "ok"}
    rows = [row_of(LAFID_BENCH, clip_id=case.clip_id, **known) for case in bench.cases]
    lake.put({LAFID_BENCH.name: LAFID_BENCH.frame(rows)}, "all", "f")


def _run(lake: Lake, tracking: Any = NOBODY, **config: Any) -> dict[str, Any]:
    told = {"ops": {"model_evaluation": {"config": config}}}
    done = dg.materialize(
        [model_evaluation],
        resources={"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake, "tracking": tracking},
        run_config=told,
    )
    [event] = done.asset_materializations_for_node("model_evaluation")
    return {name: value.value for name, value in event.metadata.items()}


def test_what_it_draws_what_it_shows_and_what_it_tries_again(
    released: Lake, drawer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = drawer.generate

    def faulty(image: Any, prompt: str, **more: Any) -> Any:
        return generate(image, "a fault" if prompt.startswith("Person 1") else prompt, **more)

    with monkeypatch.context() as patch:
        patch.setattr(drawer, "generate", faulty)
        shown = _run(released, steps=3, drawing={"low_memory": True})
    assert {one["steps"] for one in drawer.drawn} == {3}
    assert (shown["test_flow_loss"], shown["test_faces_found_share"]) == (2.0, 0.5)
    assert shown["test_likeness_yaw_60_90"] == "no drawn frame falls into it"
    assert shown["compared_with"] == "none"
    assert shown["videos"].records[0].data["case_id"] == "clip-1-0", "the one that failed"
    assert Path(shown["page"]).read_text().startswith("<!doctype html>")
    assert shown["curves"].startswith("![similarity by pose](data:image/png;base64,")
    failed = released.read(EVALUATED_VIDEOS.name).filter(status="error")
    assert failed.select("case_id", "reason").rows() == [("clip-1-0", "engine_failed")]

    drawer.drawn.clear()
    how = {"steps": 3, "drawing": {"low_memory": True}}
    assert _run(released, **how)["computed"] is True, "the case that failed is missing"
    assert [one["prompt"] for one in drawer.drawn] == ["Person 1 turns the head."]
    assert _run(released, **how)["computed"] is False
    [video, *_] = released.read(EVALUATED_VIDEOS.name)["video_path"]
    released.store.remove(video)
    assert _run(released, **how)["computed"] is True, "a video is gone"
    drawer.drawn.clear()
    assert _run(released, cases=1, **how)["computed"] is True
    assert released.read(EVALUATED_VIDEOS.name)["case_id"].len() == 1
    assert drawer.drawn == []


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Says who is champion; its files are wherever."""

    def crown(checkpoint: str | None) -> None:
        rival = None if checkpoint is None else Rival(RegisteredVersion("lafid", "1"), "champion", checkpoint)
        for module in (asset_module, share_module):
            monkeypatch.setattr(module, "rival_of", lambda *_: rival)
        files = ModelFiles("models:/lafid/1", str(checkpoint), Path("checkpoint"), Path("base"))
        monkeypatch.setattr(plan_module, "find_model", lambda *_, **__: files)

    return crown


def test_the_champion_is_evaluated_beside_it_and_another_one_alone_anew(
    released: Lake, drawer: Any, champion: Callable[[str | None], None]
) -> None:
    champion("theirs")
    fetched_before = released.store.local_path(f"{plan_module.DOWNLOADS}/m-before")
    fetched_before.mkdir(parents=True)
    shown = _run(released)
    assert not fetched_before.exists(), "one at a time"
    assert len(drawer.drawn) == 6
    assert shown["compared_with"] == "models:/lafid/1 (champion)"
    assert shown["against_pose_binned_similarity"] == "+0.000 (+0.000 to +0.000): cannot be told (3 persons)"
    assert "Against models:/lafid/1 (champion)" in Path(shown["page"]).read_text()
    losses = released.read(MODEL_EVALUATION.name).filter(metric="flow_loss", split="test")
    assert losses.select("checkpoint_sha256", "value").rows() == [("ours", 2.0), ("theirs", 2.0)]
    assert _run(released)["computed"] is False

    drawer.drawn.clear()
    champion("another")
    assert _run(released)["computed"] is True
    assert len(drawer.drawn) == 3
    assert set(released.read(EVALUATED_VIDEOS.name)["checkpoint_sha256"]) == {"ours", "another"}

    drawer.drawn.clear()
    champion("theirs")
    plan_module.find_model = None  # type: ignore[assignment]  # nothing is asked of a model whose results are kept
    assert _run(released)["computed"] is True
    assert drawer.drawn == []
    champion(None)
    assert _run(released)["compared_with"] == "none"
    assert set(released.read(EVALUATED_VIDEOS.name)["checkpoint_sha256"]) == {"ours"}


def test_a_champion_that_cannot_be_had_costs_the_comparison_alone_and_is_tried_again(
    released: Lake, drawer: Any, champion: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    champion("theirs")

    def missing(*_: Any, **__: Any) -> ModelFiles:
        raise ModelMissing("models:/lafid/1 needs its base wan: adopt it")

    with monkeypatch.context() as patch:
        patch.setattr(plan_module, "find_model", missing)
        shown = _run(released)
        assert shown["compared_with"] == (
            "models:/lafid/1 (champion) could not be evaluated: models:/lafid/1 needs its base wan: adopt it"
        )
        assert set(released.read(EVALUATED_VIDEOS.name)["checkpoint_sha256"]) == {"ours"}
        assert shown["test_faces_found_share"] == 0.5
        other = ModelFiles("models:/lafid/1", "somebody else", Path("checkpoint"), Path("base"))
        patch.setattr(plan_module, "find_model", lambda *_, **__: other)
        assert "holds another checkpoint than its tag says" in _run(released)["compared_with"]
    assert _run(released)["computed"] is True
    assert set(released.read(EVALUATED_VIDEOS.name)["checkpoint_sha256"]) == {"ours", "theirs"}

    def away(*_: Any) -> None:
        raise TrackingUnreachable("MLflow at http://x does not answer")

    monkeypatch.setattr(asset_module, "rival_of", away)
    assert _run(released)["compared_with"] == "not evaluated: MLflow at http://x does not answer"


def test_without_a_bench_there_is_the_loss(released: Lake, drawer: Any) -> None:
    released.put({LAFID_BENCH.name: LAFID_BENCH.frame([])}, "all", "g")
    shown = _run(released)
    assert (shown["bench"], shown["test_flow_loss"]) == ("none: the test split gives no case to draw", 2.0)
    assert drawer.drawn == []


def test_a_bench_that_nobody_has_made_is_told_from_one_without_cases(lake: Lake, row_of: Rows, drawer: Any) -> None:
    _release(lake, row_of, bench=False)
    assert _run(lake)["bench"] == "none: nobody has made one: run `lafid bench`, then materialize model_evaluation"


def test_a_loss_that_failed_is_told_and_tried_again(released: Lake, drawer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: Any) -> float:
        raise ZeroDivisionError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr("model.training.metrics.fixed_flow_loss", faulty)
        shown = _run(released)
    assert (shown["test_flow_loss"], shown["test_faces_found_share"]) == ("engine_failed: out of memory", 0.5)
    assert _run(released)["test_flow_loss"] == 2.0
    assert _run(released)["computed"] is False


def test_clips_of_another_presets_sizes_are_refused(released: Lake) -> None:
    """Precomputed for another model since: what is measured of them would be nobody's."""
    other = released.read(TRAINING_LATENTS.name).with_columns(fps=pl.lit(16.0))
    released.put({TRAINING_LATENTS.name: other}, "x", "g")
    with pytest.raises(dg.Failure, match="3 of 3 clips are .* those of x: run `lafid precompute --preset tiny`"):
        _run(released)


def _node(bucket: str, folder: Path, name: str) -> Lake:
    """The lake as a node sees it, all of which have one store and one catalog."""
    catalog = Catalog.of(FileStore(str(folder)), None)
    return Lake(FileStore(f"s3://{bucket}/lafid", folder / name), catalog, folder / "home", TABLES)


def test_another_node_goes_on_with_what_one_has_drawn_into_a_store_on_s3(
    bucket: str, drawer: Any, row_of: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second node finds two videos of three; the third node finds all, and the page."""
    one, two, three = (_node(bucket, tmp_path, name) for name in ("one", "two", "three"))
    _release(one, row_of)
    generate = drawer.generate

    def dying(image: Any, prompt: str, **more: Any) -> Any:
        if prompt.startswith("Person 1"):
            raise RuntimeError("the node is gone")
        return generate(image, prompt, **more)

    with monkeypatch.context() as patch:
        patch.setattr(drawer, "generate", dying)
        with pytest.raises(dg.Failure):
            _run(one)
    begun = len(drawer.drawn)
    assert begun < 3
    shown = _run(two)
    assert len(drawer.drawn) == 3, "nothing is drawn twice"
    assert shown["page"].startswith(f"s3://{bucket}/lafid/evaluations/pages/")
    assert shown["curves"].startswith("![similarity by pose](data:image/png;base64,")
    assert _run(three)["computed"] is False
    assert len(drawer.drawn) == 3
    for lake in (one, two, three):
        lake.close()


def _share(lake: Lake, share: str, tracking: Any = NOBODY) -> bool:
    resources = {"settings": Settings(home=lake.home, store_uri=lake.store.uri), "lake": lake, "tracking": tracking}
    job = share_module.draw_evaluation({})
    return job.execute_in_process(partition_key=share, resources=resources, raise_on_error=False).success


def test_shares_of_two_nodes_and_what_a_third_draws_are_what_one_machine_makes(
    released: Lake, bucket: str, drawer: Any, champion: Callable[[str | None], None], row_of: Rows, tmp_path: Path
) -> None:
    """The second case's share was never run."""
    champion("theirs")
    _run(released)
    alone = {name: released.read(name) for name in (MODEL_EVALUATION.name, EVALUATED_VIDEOS.name, EVALUATED_FRAMES.name)}
    drawn_alone, drawer.drawn[:] = list(drawer.drawn), []

    one, two, three = (_node(bucket, tmp_path, name) for name in ("one", "two", "three"))
    _release(one, row_of)
    shares = share_module.SHARES.get_partition_keys()[:4]  # of three cases, and one to which nothing falls
    for number, share in enumerate(shares):
        assert share == "02" or _share((one, two)[number % 2], share)
    assert sorted(one["prompt"] for one in drawer.drawn) == ["Person 0 turns the head."] * 2 + ["Person 2 turns the head."] * 2
    assert _share(two, "01"), "a share that was drawn is drawn by nobody again"
    assert len(drawer.drawn) == 4
    assert _run(three)["compared_with"] == "models:/lafid/1 (champion)"
    for name, rows in alone.items():
        assert three.read(name).equals(rows), name
    key = lambda drawn: sorted(map(str, drawn))  # noqa: E731
    assert key(drawer.drawn) == key(drawn_alone), "nothing is drawn twice"
    for video in alone[EVALUATED_VIDEOS.name]["video_path"]:
        assert three.store.read_bytes(video) == released.store.read_bytes(video)
    for lake in (one, two, three):
        lake.close()


def test_a_share_of_which_all_fails_fails_and_one_whose_champion_is_away_does_not(
    released: Lake, drawer: Any, champion: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    champion("theirs")

    def missing(*_: Any, **__: Any) -> ModelFiles:
        raise ModelMissing("models:/lafid/1 needs its base wan: adopt it")

    monkeypatch.setattr(plan_module, "find_model", missing)
    assert _share(released, "01")
    assert len(drawer.drawn) == 1
    monkeypatch.setattr(drawer, "generate", lambda *_, **__: 1 / 0)
    assert not _share(released, "03")
    assert _share(released, "16"), "nothing falls to it"
