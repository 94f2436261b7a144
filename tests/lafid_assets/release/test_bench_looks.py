"""Looking at one clip and at one person: how far it goes, and what it leaves out."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lafid_assets.release import bench_looks
from lafid_assets.release.bench_choice import CandidatePicture, choose_cases, choose_persons
from lafid_assets.release.bench_looks import (
    FirstFrameTask,
    LooksTask,
    SeenPicture,
    engine_choice,
    find_first_frame,
    gallery_order,
    look_at,
)
from resources.store.file_store import FileStore
from tests.lafid_assets.release.painted import MOST_PERSONS, PaintedClip, PaintedEngine, PaintedWorld

Painted = Callable[..., PaintedWorld]


def _task(world: PaintedWorld, clip_id: str = "a") -> FirstFrameTask:
    [case] = [case for case in choose_cases(world.dataset, world.faces, 9, 0) if case.clip["clip_id"] == clip_id]
    return FirstFrameTask(
        clip_id, world.footage / clip_id, case.clip["content_sha256"], case.clip["duration_s"], case.moments, "painted"
    )


def test_only_so_many_frames_are_looked_at(painted: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    late = painted(PaintedClip("a", 0, yaws=(75.0,) * 15 + (0.0,)))
    found = find_first_frame(_task(late))
    assert (found.moment, found.width, found.height) == (15, 128, 96)
    monkeypatch.setattr(bench_looks, "MOST_TRIED", 15)
    assert find_first_frame(_task(late)).png is None


def test_frames_are_decoded_few_at_a_time(painted: Painted, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    frames_at = bench_looks.frames_at
    monkeypatch.setattr(bench_looks, "frames_at", lambda footage, wanted: asked.append(len(wanted)) or frames_at(footage, wanted))
    find_first_frame(_task(painted(PaintedClip("a", 0, yaws=(75.0,) * 20))))
    assert asked == [1, 2, 4, 8, 1]


@pytest.mark.parametrize(("name", "engine", "embedder"), [("dlib", "dlib", "auto"), ("insightface/x", "insightface", "x")])
def test_the_engine_of_the_dataset_is_asked_for_by_its_name(name: str, engine: str, embedder: str) -> None:
    assert (engine_choice(name).engine, engine_choice(name).embedder) == (engine, embedder)


def test_a_picture_that_shows_somebody_beside_the_middle_is_left_out(painted: Painted, store: FileStore) -> None:
    world = painted(PaintedClip("a", 0, yaws=(0.0, 20.0)))
    [person] = choose_persons(world.dataset, choose_cases(world.dataset, world.faces, 1, 0))
    task = LooksTask(person, store.uri, "painted", with_photos=False)
    assert len(look_at(task).gallery) == 2
    picture = np.asarray(bench_looks._opened(store.read_bytes(person.pictures[0].face_path)))
    store.write_bytes(person.pictures[0].face_path, bench_looks.png_of(np.pad(picture, ((0, 0), (0, 60), (0, 0)))))
    assert [seen.picture for seen in look_at(task).gallery] == [person.pictures[1]]


def test_a_face_that_the_engine_cannot_embed_is_none(painted: Painted, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    world = painted(PaintedClip("a", 0, yaws=(0.0, 20.0)))
    [person] = choose_persons(world.dataset, choose_cases(world.dataset, world.faces, 1, 0))
    detect = PaintedEngine.detect
    nothing = np.full(MOST_PERSONS + 1, np.nan, np.float32)
    monkeypatch.setattr(
        PaintedEngine, "detect", lambda *args: [dataclasses.replace(face, embedding=nothing) for face in detect(*args)]
    )
    assert look_at(LooksTask(person, store.uri, "painted", with_photos=False)).gallery == ()


def test_a_photo_must_show_its_face_too(painted: Painted, store: FileStore) -> None:
    turning = tuple(float(yaw) for yaw in range(-60, 61, 20))
    world = painted(PaintedClip("a", 0, yaws=turning))
    [person] = choose_persons(world.dataset, choose_cases(world.dataset, world.faces, 1, 0))
    task = LooksTask(person, store.uri, "painted", with_photos=True)
    whole = look_at(task)
    assert (len(whole.gallery), len(whole.photos)) == (5, 2)
    blank = bench_looks.png_of(np.full((80, 80, 3), 255, np.uint8))
    lost = next(picture for picture in person.pictures if store.read_bytes(picture.head_path) == whole.photos[0][1])
    store.write_bytes(lost.head_path, blank)
    assert look_at(task).photos == whole.photos[1:]


def _seen(yaw: float | None, sharpness: float, expression: float = 0.0) -> SeenPicture:
    picture = CandidatePicture("a", 0, 0, (0.0, 0.0, 1.0, 1.0), "f", "h", sharpness, yaw or 0.0)
    direction = np.array([1.0, expression])
    angles = None if yaw is None else (yaw, 0.0, 0.0)
    return SeenPicture(picture, b"", angles, None, tuple((direction / np.linalg.norm(direction)).tolist()))


def test_a_gallery_is_spread_over_poses_and_expressions() -> None:
    seen = [_seen(60.0, 1), _seen(-20.0, 9), _seen(8.0, 5), _seen(-60.0, 1), _seen(8.0, 1, expression=1.0), _seen(8.0, 2)]
    order = gallery_order(seen)
    assert order[0] == 2, "the sharpest of the frontal ones"
    assert set(order) == {0, 1, 2, 3, 4}, "the same pose and expression again is left out"
    assert set(order[1:4]) == {0, 3, 4}


def test_pictures_without_pose_come_into_no_gallery_that_has_others() -> None:
    assert gallery_order([_seen(None, 9), _seen(30.0, 1)]) == [1]
    assert gallery_order([_seen(None, 1), _seen(None, 9)]) == [1]
