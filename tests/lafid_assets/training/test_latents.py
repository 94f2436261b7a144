"""The cache of everything frozen: in parts, each encoded once for what it depends on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from lafid_assets.schemas import TRAINING_LATENTS
from lafid_assets.training import shard_plan as module
from lafid_assets.training.base import base_folder, base_path
from lafid_assets.training.encoding import SHARDS_FOLDER
from lafid_assets.training.latents import count, intact
from model.clip_size import ClipSize
from model.clips.clip_set import ClipSet
from model.encoding import video_io
from model.encoding.head_mask import MaskInfo, MaskUnusable, OvalMask
from model.files import sha256_file
from model.model_store.install import install
from model.model_store.registry import Kind
from model.presets import Preset, preset
from resources.face_engine import model_store
from resources.store.file_store import FileStore
from tests.lafid_assets.training.encoded import SHARD, encode_clips, list_of
from tests.model.cached_clips import read_clip

SIZE = ClipSize(frames=9, height=16, width=16)
PACE_TEXTS = ("black", "dark")
Encode = Callable[..., pl.DataFrame]
PLACE = {"box_x1": 20.0, "box_y1": 10.0, "box_x2": 44.0, "box_y2": 34.0, "pitch_deg": 0.0, "roll_deg": 0.0}
TURNS_LATE = [
    PLACE | {"time_s": time_s, "frame_index": round(10 * time_s), "face_index": 1, "yaw_deg": yaw}
    for time_s, yaw in ((0.0, 0.0), (0.1, 0.0), (1.1, 60.0))
]
"""The second that begins at 0.1 s holds the turn; the face that it begins with is no reference."""


def tiny(clip: ClipSize = SIZE) -> Preset:
    return preset("tiny").model_copy(update={"clip": clip})


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(clip, part) of everything that was really computed; texts by their words, once they were encoded."""
    from model.encoding.encoders import ClipEncoders

    made: list[tuple[str, str]] = []
    real, texts = module.recipes, ClipEncoders.texts

    def noting(clip: dict[str, Any], *arguments: Any) -> dict[str, Any]:
        def told(part: str, compute: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def go(shown: Any) -> Any:
                tensors = compute(shown)
                made.append((clip["clip_id"], part))
                return tensors

            return go

        return {part: replace(one, compute=told(part, one.compute)) for part, one in real(clip, *arguments).items()}

    def noting_texts(self: ClipEncoders, prompts: list[str]) -> list[torch.Tensor]:
        made.extend(("text", words) for words in prompts if prompts != list(PACE_TEXTS))
        return texts(self, prompts)

    monkeypatch.setattr(module, "recipes", noting)
    monkeypatch.setattr(ClipEncoders, "texts", noting_texts)
    return made


@pytest.fixture
def base_dir(store: FileStore) -> Path:
    return base_folder("tiny", store)


@pytest.fixture
def encode(store: FileStore, base_dir: Path, faces: pl.DataFrame) -> Encode:
    def run(dataset: pl.DataFrame, clip: ClipSize = SIZE, measured: pl.DataFrame = faces) -> pl.DataFrame:
        return encode_clips(dataset, measured, tiny(clip), base_dir, store)

    return run


def test_base_lies_in_the_store_and_is_built_once(store: FileStore, base_dir: Path) -> None:
    assert base_dir == store.local_path(base_path("tiny"))
    before = {path: path.stat().st_mtime_ns for path in base_dir.rglob("*")}
    assert before
    assert base_folder("tiny", store) == base_dir
    assert {path: path.stat().st_mtime_ns for path in base_dir.rglob("*")} == before


def test_a_real_base_is_not_made_up(store: FileStore) -> None:
    with pytest.raises(ValueError, match=r"hf download Wan-AI/Wan2\.2-TI2V-5B-Diffusers"):
        base_folder("wan2.2-ti2v-5b", store)


def test_second_call_computes_nothing(encode: Encode, dataset: pl.DataFrame, computed: list) -> None:
    first = encode(dataset)
    pictured = {(clip, part) for clip in "ab" for part in ("video", "face", "semantic", "detail", "views")}
    words = {("text", f"Person {clip}.{end}") for clip in "ab" for end in ("", " No voice is heard.")} | {("text", "")}
    assert set(computed) == pictured | words
    assert len(computed) == len(set(computed)), "each text once, whoever's it is"
    computed.clear()
    assert encode(dataset).equals(first)
    assert computed == []
    assert TRAINING_LATENTS.violations(first) == []


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"refined_caption": "She nods. No voice is heard."}, {"She nods.", "She nods. No voice is heard."}),
        ({"speaking_sentence": None}, set()),
        ({"identity_embedding": [1.0] * 128}, set()),
        ({"face_track": []}, {"face"}),
        ({"face_track": TURNS_LATE}, {"video", "face", "semantic", "detail", "views"}),
        ({"references": {"landmarks_px": []}}, {"semantic", "detail", "views"}),
        ({"references": {"frame_index": 6}}, {"face", "semantic", "detail", "views"}),
        ({"references": {"yaw_deg": 3.0}}, set()),
        ({"identity_id": "somebody else", "split": "validation", "dataset_version": "v2", "licence": "CC0"}, set()),
    ],
)
def test_a_change_costs_the_parts_that_depend_on_it(
    encode: Encode, dataset: pl.DataFrame, computed: list, change: dict[str, Any], parts: set[str]
) -> None:
    rows = dataset.filter(pl.col("clip_id") == "a").to_dicts()
    encode(dataset)
    computed.clear()
    if "references" in change:
        first, *others = rows[0]["references"]
        change = {"references": [first | change["references"], *others]}
    encode(pl.DataFrame([rows[0] | change], schema=dataset.schema))
    assert {part for _, part in computed} == parts
    assert len(computed) == len(parts)


def test_the_window_with_the_turn_is_encoded(encode: Encode, dataset: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[list[float]] = []
    read = video_io.read_frames
    monkeypatch.setattr(video_io, "read_frames", lambda path, times_s: shown.append(list(times_s)) or read(path, times_s))
    rows = dataset.filter(pl.col("clip_id") == "a").to_dicts()
    encoded = encode(pl.DataFrame([rows[0] | {"face_track": TURNS_LATE}], schema=dataset.schema))
    assert encoded["start_s"].to_list() == [0.1]
    assert shown == [pytest.approx([0.1 + index / 8 for index in range(9)])]
    assert encode(dataset)["start_s"].to_list() == [0.0, 0.0, None], "the last is too short"


def test_heads_are_cut_out_by_the_mask_that_the_dataset_names(
    encode: Encode,
    dataset: pl.DataFrame,
    store: FileStore,
    computed: list,
    tmp_path: Path,
    write_network: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And by no other: the network must be in the model store still."""
    monkeypatch.setenv("LAFID_MODELS", str(tmp_path / "models"))
    one = dataset.filter(pl.col("clip_id") == "a")
    assert ClipSet(list_of(encode(one), one, store)).meta.head_mask == MaskInfo()
    computed.clear()
    network = write_network(tmp_path / "matting.onnx", Kind.MATTING, 0.0)
    mask = MaskInfo(name="modnet", sha256=sha256_file(network))
    (row,) = one.to_dicts()
    row["references"] = [each | {"mask": mask.name, "mask_sha256": mask.sha256} for each in row["references"]]
    masked = pl.DataFrame([row], schema=dataset.schema)
    with pytest.raises(MaskUnusable, match="cut out by modnet .*lafid models fetch modnet"):
        encode(masked)
    install(model_store(), "modnet", [network])
    clips = ClipSet(list_of(encode(masked), masked, store))
    assert {part for _, part in computed} == {"semantic", "detail", "views"}
    assert clips.meta.head_mask == mask
    white, other, _ = read_clip(clips, 0).views.latents
    assert torch.equal(white, other), "this network leaves nothing of a head but white"


@pytest.mark.parametrize(
    ("size", "parts"),
    [
        ({"fps": 7.9}, {"video", "face"}),  # the boxes are of other moments
        ({"frames": 8}, {"video", "face"}),
        ({"views": 1}, {"semantic", "detail", "views", "face"}),
        ({"view_side": 16}, {"views"}),
    ],
)
def test_another_size_costs_what_is_of_that_size(
    encode: Encode, dataset: pl.DataFrame, computed: list, size: dict[str, Any], parts: set[str]
) -> None:
    one = dataset.filter(pl.col("clip_id") == "a")
    encode(one)
    computed.clear()
    encode(one, SIZE.model_copy(update=size))
    assert {part for _, part in computed} == parts


def test_what_a_cut_keeps_in_view_costs_the_video(encode: Encode, dataset: pl.DataFrame, computed: list) -> None:
    """A wide cut of a square picture follows the face up and down, and not to the sides."""
    (row,) = dataset.filter(pl.col("clip_id") == "a").to_dicts()
    wide = SIZE.model_copy(update={"width": 32})

    def moved(**box: float) -> set[str]:
        first, *others = row["face_track"]
        computed.clear()
        encode(pl.DataFrame([row | {"face_track": [first | box, *others]}], schema=dataset.schema), wide)
        return {part for _, part in computed}

    moved()
    assert moved(box_x1=18.0) == {"face"}
    assert moved(box_y1=30.0, box_y2=60.0) == {"video", "face"}


@pytest.mark.parametrize(
    ("component", "parts"),
    [
        ("vae", {"video", "detail", "views"}),
        ("text_encoder", {"Person a.", "Person a. No voice is heard.", ""}),
        ("tokenizer", {"Person a.", "Person a. No voice is heard.", ""}),
        ("image_encoder", {"semantic"}),
        ("transformer", set()),
    ],
)
def test_a_changed_encoder_costs_its_parts_and_a_changed_transformer_none(
    encode: Encode, dataset: pl.DataFrame, computed: list, monkeypatch: pytest.MonkeyPatch, component: str, parts: set[str]
) -> None:
    import model.bases.base

    one = dataset.filter(pl.col("clip_id") == "a")
    encode(one)
    computed.clear()
    real = model.bases.base.load_base

    def changed(*given: Any, **options: Any) -> Any:
        base = real(*given, **options)
        info = base.info.model_copy(update={"sha256": "f" * 64})
        return replace(base, info=info, digests={**base.digests, component: "f" * 64})

    monkeypatch.setattr(model.bases.base, "load_base", changed)
    rows = encode(one)
    assert {part for _, part in computed} == parts
    assert rows["encoders_fingerprint"].n_unique() == 1


def test_what_is_cached_is_what_training_reads(store: FileStore, encode: Encode, dataset: pl.DataFrame) -> None:
    rows = encode(dataset)
    row = rows.row(0, named=True)
    assert (row["frames"], row["height"], row["width"], row["split"], row["status"]) == (9, 16, 16, "train", "ok")
    clips = ClipSet(list_of(rows, dataset, store))
    assert clips.clip_ids == ("a",)
    clip = read_clip(clips, 0)
    assert clip.meta.encoders_fingerprint == row["encoders_fingerprint"]
    assert clip.meta.caption == "Person a. No voice is heard."
    assert clips.persons == ("person-a",)
    assert clip.text_plain.shape[0] == len("Person a.") + 1
    assert clip.views.identity.argmax(dim=1).tolist() == [ord("a")] * 3
    assert not torch.equal(clip.views.identity[0], clip.views.identity[1]), "the embedding of each crop"
    assert clip.latents.shape == (48, 9, 4, 4)
    assert clip.face_boxes[0].tolist() == pytest.approx([20 / 64, 10 / 64, 44 / 64, 34 / 64])
    assert clip.face_boxes.isnan().all(dim=1).tolist() == [False] * 3 + [True] * 6
    assert ClipSet(list_of(rows, dataset, store), "test").clip_ids == ("b",)


def test_faces_are_cropped_as_the_users_pipeline_crops_them(
    store: FileStore, encode: Encode, dataset: pl.DataFrame, base_dir: Path, tmp_path: Path
) -> None:
    """Under a mask that follows the landmarks: a tilted head is not masked upright."""
    import numpy as np

    from lafid_assets.faces.sampling import frame_at
    from model.bases.base import load_base
    from model.encoding.encoders import ClipEncoders
    from model.encoding.face_processor import process_face
    from model.face_engine.interface import EngineInfo, Face

    row = dataset.row(0, named=True)
    reference = row["references"][0]
    box = tuple(reference[f"box_{side}"] for side in ("x1", "y1", "x2", "y2"))

    class Engine:
        info = EngineInfo("stub", "1", 4, "none", "stub")

        def detect(self, image: Any) -> list[Face]:
            landmarks = np.array(reference["landmarks_px"], np.float32).reshape(-1, 2)
            return [Face(box, 1.0, landmarks, None, np.ones(4, np.float32), None)]

    shown = frame_at(tmp_path / "footage" / "a", reference["frame_index"])
    crop = process_face(shown, Engine(), OvalMask()).crop
    encoders = ClipEncoders(load_base(base_dir))
    clip = read_clip(ClipSet(list_of(encode(dataset), dataset, store)), 0)
    assert clip.views.semantic[0].equal(encoders.semantic(crop)[0].bfloat16())
    assert clip.views.detail[0].equal(encoders.detail(crop)[0].bfloat16())


def test_every_clip_is_placed_by_size_and_the_counts_add_up(
    store: FileStore, encode: Encode, dataset: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a clip of exactly one second nothing is on screen any more at its end, where the window's last frame is."""
    longer = encode(dataset)
    assert longer["status"].to_list() == ["ok", "ok", "skipped"]
    assert longer.row(2, named=True).items() >= {"reason": "too_short", "parts": [], "frames": None}.items()
    assert count(longer) == {"clips of 9 x 16 x 16": 2, "clips skipped: too_short": 1}
    assert "1 of 3 clips are too short for every length of the preset" in caplog.text
    wide = dataset.with_columns(width=pl.when(pl.col("clip_id") == "b").then(128).otherwise("width").cast(pl.Int32))
    size = SIZE.model_copy(update={"shorter_frames": (5,), "shapes": ((16, 32),)})
    several = encode(wide, size)
    assert count(several) == {"clips of 5 x 16 x 16": 1, "clips of 9 x 16 x 16": 1, "clips of 9 x 16 x 32": 1}
    assert sum(count(several).values()) == dataset.height
    train = ClipSet(list_of(several, wide, store))
    assert {tuple(size): indices for size, indices in train.buckets.items()} == {(5, 16, 16): (1,), (9, 16, 16): (0,)}
    assert read_clip(train, 1).latents.shape == (48, 5, 4, 4)
    assert read_clip(train, 1).face_boxes.shape == (5, 4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.rename(path.with_name("hidden")), "b has disappeared: put it back"),
        (lambda path: path.write_bytes(b"other"), "b has changed since dataset version x: put the file back"),
    ],
    ids=["gone", "changed"],
)
def test_a_clip_that_no_longer_is_the_datasets_costs_no_other(
    store: FileStore,
    encode: Encode,
    dataset: pl.DataFrame,
    tmp_path: Path,
    computed: list,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], Any],
    message: str,
) -> None:
    path = tmp_path / "footage" / "a"
    content = path.read_bytes()
    spoil(path)
    rows = encode(dataset)
    assert rows["status"].to_list() == ["error", "ok", "skipped"]
    assert message.replace("b has", "a has") in rows["detail"][0]
    assert f"1 of 3 clips could not be cached and will not be trained on, the first a: {rows['detail'][0]}" in caplog.text
    assert not intact(rows, store)
    path.write_bytes(content)
    computed.clear()
    rows = encode(dataset)
    assert {clip for clip, _ in computed} == {"a"}, "its texts were encoded without it"
    assert intact(rows, store)


def test_a_clip_that_is_shorter_than_it_says_is_an_error_of_its_own(encode: Encode, dataset: pl.DataFrame) -> None:
    rows = encode(dataset.with_columns(duration_s=5.0), SIZE.model_copy(update={"frames": 17}))
    assert set(rows["reason"]) == {"decode_failed"}
    assert "is too short: nothing is shown at" in rows["detail"][0]


def test_a_torn_shard_is_told_and_its_parts_are_made_again(
    store: FileStore, encode: Encode, dataset: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    rows = encode(dataset)
    assert intact(rows, store)
    (shard,) = store.here(SHARDS_FOLDER).rglob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1])
    assert not intact(rows, store)
    assert encode(dataset).equals(rows)
    assert f"shard {SHARD}/{shard.name} is torn" in caplog.text
    assert intact(rows, store)


def test_nothing_kept_is_an_empty_table(store: FileStore, encode: Encode, dataset: pl.DataFrame) -> None:
    rows = encode(dataset.head(0))
    assert rows.height == 0
    with pytest.raises(ValueError, match="the dataset has no clips to train on"):
        list_of(rows, dataset, store)
