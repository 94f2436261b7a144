"""`lafid generate` and `lafid inspect` around a stand-in model: what is asked of it, what is written, what is refused."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lafid_assets.cli.generate import face_choice
from lafid_assets.cli.inspect import dictionary_figure, gate_figure
from lafid_assets.cli.prompts import read_prompts
from model.face_engine.interface import Face
from model.face_engine.rotations import rotation_from_angles
from model.release.drawing_settings import AS_TRAINED, DrawingSettings
from model.release.inspection import Activations, GateWeights
from tests.lafid_assets.cli.stand_in import StandIn

Lafid = Callable[..., Any]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    return path


def test_every_option_arrives(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    ended = lafid(
        *("generate", "--prompt", "x", "--out", out, "--photo", photo, "--photo", photo, "--negative-prompt", "blur"),
        *("--steps", 2, "--frames", 3, "--height", 16, "--width", 32, "--guidance", 2.5, "--face-guidance", 1.5),
        *("--seed", 7, "--face", "largest", "--precision", "bfloat16", "--low-memory", "--device", "cuda:1"),
        *("--base", tmp_path, "--semantic-encoder", tmp_path),
    )
    assert ended.code == 0, ended.err
    asked = stand_in.asked
    assert asked["image"] is None
    assert [picture.size for picture in asked.pop("photos")] == [(8, 8), (8, 8)]
    asked.pop("on_step")
    assert asked == {
        **{"image": None, "prompt": "x", "negative_prompt": "blur", "num_frames": 3, "height": 16, "width": 32},
        **{"steps": 2, "guidance": 2.5, "face_guidance": 1.5, "seed": 7, "choose": "largest"},
    }
    drawing = DrawingSettings(precision="bfloat16", low_memory=True, device="cuda:1", semantic_dir=tmp_path)
    assert stand_in.loaded.pop("adopted")("tiny").parent.name == "bases"
    assert stand_in.loaded == {"uri": "models:/lafid@champion", "base_dir": tmp_path, "drawing": drawing, "downloads": None}
    assert out.stat().st_size > 0
    assert "3 frames of 32x16" in ended.out


def test_a_first_frame_alone(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    assert lafid("generate", "--prompt", "x", "--out", tmp_path / "o.mp4", "--image", photo).code == 0
    assert stand_in.asked["image"].size == (8, 8)
    assert stand_in.asked["photos"] == []
    assert stand_in.asked["num_frames"] is None
    assert stand_in.loaded["drawing"] == AS_TRAINED


def test_nobody_to_draw_and_no_such_face(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.mp4"
    ended = lafid("generate", "--prompt", "x", "--out", out)
    assert "nobody to draw: name a first frame with --image, or photos of the person with --photo" in ended.error
    ended = lafid("generate", "--prompt", "x", "--out", out, "--image", photo, "--face", "tallest")
    assert "'tallest' names no face: say" in ended.error
    assert not out.exists()


def test_where_no_video_can_be_written_none_is_drawn(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a smile")
    one, many = ("--prompt", "x"), ("--prompts", tmp_path / "prompts.txt")
    for out, prompts, told in (
        (tmp_path, one, "is no mp4 to write: name a file that ends in .mp4 with --out"),
        (tmp_path / "video", one, "is no mp4 to write"),
        (photo, many, "is no folder: of many prompts, name one with --out"),
    ):
        assert told in lafid("generate", *prompts, "--out", out, "--image", photo).error
    assert stand_in.drawn == []


PROMPTS = """{"prompt": "a smile", "name": "smile"}

{"prompt": "a nod", "seed": 7, "negative_prompt": "blur"}
"""


def test_many_prompts_go_on_where_they_were_interrupted(
    lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "many.jsonl").write_text(PROMPTS)
    out = tmp_path / "videos"
    command = ("generate", "--prompts", tmp_path / "many.jsonl", "--out", out, "--photo", photo)
    whole = lafid(*command, "--seed", 3)
    assert whole.code == 0, whole.err
    assert stand_in.drawn == [("a smile", 3), ("a nod", 7)]
    assert stand_in.asked["negative_prompt"] == "blur"
    assert sorted(path.name for path in out.iterdir()) == ["0003.mp4", "smile.mp4"]

    (out / "0003.mp4").write_bytes(b"")  # what a kill may leave, however unlikely
    stand_in.drawn.clear()
    again = lafid(*command, "--seed", 3)
    assert stand_in.drawn == [("a nod", 7)]
    assert "smile.mp4: drawn before, for the same request" in again.out

    monkeypatch.setattr("model.release.package.pull", lambda *_, **__: pytest.fail("a model was loaded for nothing"))
    assert lafid(*command, "--seed", 3).code == 0


@pytest.mark.parametrize(
    ("changed", "drawn"),
    [
        ((), 0),
        (("--steps", 3), 1),
        (("--height", 32), 1),
        (("--negative-prompt", "x"), 1),
        (("--precision", "bfloat16"), 1),
        (("--image", "photo"), 1),
    ],
    ids=str,
)
def test_a_video_is_drawn_again_for_another_request_alone(
    changed: tuple[object, ...], drawn: int, lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path
) -> None:
    command = ("generate", "--prompt", "x", "--out", tmp_path / "o.mp4", "--photo", photo)
    assert lafid(*command).code == 0
    stand_in.drawn.clear()
    assert lafid(*command, *(photo if word == "photo" else word for word in changed)).code == 0
    assert len(stand_in.drawn) == drawn


def test_another_picture_or_model_is_another_request(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    command = ("generate", "--prompt", "x", "--out", tmp_path / "o.mp4", "--photo", photo)
    lafid(*command)
    Image.fromarray(np.full((8, 8, 3), 9, np.uint8)).save(photo)
    lafid(*command)
    stand_in.manifest = stand_in.manifest.model_copy(update={"step": 5})
    lafid(*command)
    assert len(stand_in.drawn) == 3
    (tmp_path / "o.mp4").write_bytes(b"no video")
    lafid(*command)
    assert len(stand_in.drawn) == 4, "a file that is no video of ours is written anew"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("none.txt", None, "cannot read prompts from .*none.txt"),
        ("empty.txt", "\n \n", "holds no prompt"),
        ("torn.jsonl", '{"prompt": "x"}\n{"prompt"', "torn.jsonl, line 2: "),
        ("fields.jsonl", '{"prompt": "x", "steps": 3}', "line 1: steps: Extra inputs are not permitted; write"),
        ("away.jsonl", '{"prompt": "x", "name": "../../x"}', "line 1: name: "),
        ("twice.jsonl", '{"prompt": "x", "name": "a"}\n{"prompt": "y", "name": "a"}', "line 2: another line is named a.mp4 too"),
    ],
)
def test_prompts_that_cannot_be_read_are_named(
    name: str, text: str | None, message: str, lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    ended = lafid("generate", "--prompts", tmp_path / name, "--out", tmp_path / "videos", "--photo", photo)
    assert re.search(message, ended.error)
    assert not stand_in.drawn


def test_lines_of_text_are_prompts(tmp_path: Path) -> None:
    (tmp_path / "many.txt").write_text("a smile\n\n  a nod \n")
    found = read_prompts(tmp_path / "many.txt")
    assert {name: line.prompt for name, line in found.items()} == {"0001.mp4": "a smile", "0003.mp4": "a nod"}


def test_one_prompt_or_many_are_asked_for(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    for given in ((), ("--prompt", "x", "--prompts", "y.txt")):
        ended = lafid("generate", *given, "--out", tmp_path / "o.mp4", "--photo", photo)
        assert "say what happens, either by --prompt or by --prompts" in ended.error


def test_it_is_said_which_photos_help(lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path) -> None:
    stand_in.faces = [_face(0), _face(-35), _face(4)]
    command = ("generate", "--prompt", "x", "--out", tmp_path / "o.mp4", "--photo", photo, "--photo", photo, "--photo", photo)
    told = lafid(*command).out
    assert "photo 1 is what the video is conditioned on: yaw +0, pitch +0 degrees" in told
    assert "photo 2 adds a view: yaw -35, pitch +0 degrees, 35 degrees from the nearest" in told
    assert "photo 3 adds nothing: as frontal as photo 1 (4 degrees apart)" in told


def _face(yaw_deg: float) -> Face:
    rotation = rotation_from_angles(yaw_deg, 0, 0).astype(np.float32)
    return Face((0, 0, 4, 4), 1.0, np.zeros((0, 2), np.float32), rotation, None, None)


def test_which_face() -> None:
    assert [face_choice(text) for text in ("only", "largest", "2")] == ["only", "largest", 2]


def test_inspect_writes_both_pictures(
    lafid: Lafid, stand_in: StandIn, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = GateWeights(np.array([1000.0, 500.0], np.float32), np.full((2, 2, 3), 1 / 3, np.float32))
    sweep = Activations(np.zeros((2, 3), np.float32), np.eye(2, dtype=np.float32))
    seen: list[str] = []
    monkeypatch.setattr(
        "model.release.inspection.gate_weights", lambda *_, **request: seen.append(f"{request['steps']} steps") or [gates]
    )
    monkeypatch.setattr("model.release.inspection.pose_sweep", lambda *_: seen.append("sweep") or sweep)
    monkeypatch.setattr("model.release.inspection.dictionary_activations", lambda *_: seen.append("photos") or sweep)
    out = tmp_path / "pictures"
    ended = lafid("inspect", "--image", photo, "--out", out, "--steps", 2)
    assert ended.code == 0, ended.err
    assert f"{out}/gates.png" in ended.out
    assert f"{out}/dictionary.png" in ended.out
    for name in ("gates", "dictionary"):
        assert min(Image.open(out / f"{name}.png").size) > 100
    assert "identity  0.333" in ended.out
    assert lafid("inspect", "--photo", photo, "--photo", photo, "--out", out).code == 0
    assert seen == ["2 steps", "sweep", "20 steps", "photos"]
    stand_in.model.fusion.config.aligner = None
    assert "no pose-shared aligner: no dictionary to show" in lafid("inspect", "--image", photo, "--out", out).out


def test_the_heat_maps_show_the_weights() -> None:
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (4, 5)).astype(np.float32)  # 4 steps, 5 layers
    figure = gate_figure(GateWeights(np.array([900, 600, 300, 100], np.float32), weights), ("a", "b", "c"))
    first, *others = figure.axes[:4]
    assert np.allclose(first.images[0].get_array(), weights.mean(axis=0))
    assert [axes.get_title() for axes in others] == ["a", "b", "c"]
    for number, axes in enumerate(others):
        assert np.allclose(axes.images[0].get_array(), weights[:, :, number].T)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["900", "600", "300", "100"]


def test_the_dictionary_goes_from_right_to_left() -> None:
    """Each face wakes an element of its own, so rows and columns sorted by pose make a diagonal."""
    angles = np.array([[30, 0, 0], [-60, 0, 0], [0, 0, 0]], np.float32)
    axes = dictionary_figure(Activations(angles, np.eye(3, dtype=np.float32)), "x").axes[0]
    assert np.array_equal(axes.images[0].get_array(), np.eye(3))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["-60", "+0", "+30"]
