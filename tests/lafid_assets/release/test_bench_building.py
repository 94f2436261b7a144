"""The bench of a painted dataset: who is drawn, with what each case begins, and what a broken clip costs."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from lafid_assets.release import bench_building, bench_looks
from lafid_assets.release.bench_building import Built, build_bench, photos_of, placed_photos
from lafid_assets.release.bench_choice import stranger_names
from lafid_assets.release.bench_looks import Looks
from model.evaluation.bench import Bench
from resources.store.file_store import FileStore
from tests.lafid_assets.release.painted import LEFT, SIDE, TOP, PaintedClip, PaintedEngine, PaintedWorld

Painted = Callable[..., PaintedWorld]
MIDDLE = (LEFT + SIDE / 2, TOP + SIDE / 2)


@pytest.fixture
def build(store: FileStore) -> Callable[..., Built]:
    def make(world: PaintedWorld, *, most: int = 9, seed: int = 0) -> Built:
        test, untested = world.dataset.filter(split="test"), world.dataset.filter(pl.col("split") != "test")
        names = stranger_names(untested.select("identity_id", "split"), test["identity_id"].n_unique(), most)
        others = untested.filter(pl.col("identity_id").is_in(names))
        asked = {"name": "painted", "most": most, "seed": seed}
        return build_bench(test, others, world.faces, world.find, store, PaintedEngine.info, **asked)

    return make


def _of(built: Built) -> Bench:
    assert built.bench is not None
    return built.bench


def _ends(built: Built) -> dict[str, tuple[str | None, str, str | None]]:
    return {row["clip_id"]: (row["begins"], row["status"], row["reason"]) for row in built.rows.iter_rows(named=True)}


def test_cases_persons_and_strangers_are_those_of_their_splits(painted: Painted, build: Callable[..., Built]) -> None:
    world = painted(
        PaintedClip("a1", 0, yaws=(0.0, 20.0, 50.0), speaking="on_screen"),
        PaintedClip("a2", 0, yaws=(5.0, -10.0), smiles_from=1),
        PaintedClip("b1", 1),
        PaintedClip("t1", 2, split="train"),
        PaintedClip("v1", 3, split="validation"),
    )
    built = build(world)
    bench = _of(built)
    assert {case.clip_id for case in bench.cases} == {"a1", "a2", "b1"}
    assert {case.identity_id for case in bench.cases[:2]} == {"person-0", "person-1"}
    assert {person.identity_id for person in bench.persons} == {"person-0", "person-1"}
    assert [person.identity_id for person in bench.strangers] == ["person-2", "person-3"]
    assert set(_ends(built).values()) == {("window", "ok", None)}
    first = next(case for case in bench.cases if case.clip_id == "a1")
    assert (first.begins, first.start_s, first.centre_xy_px) == ("window", 0.0, MIDDLE)
    assert (first.width, first.height, first.duration_s) == (128, 96, pytest.approx(0.3))
    assert (first.reached_yaw_deg, first.yaw_bin, first.speaking_status) == (50.0, "yaw_40_60", "on_screen")
    assert len(first.target_yaw_deg) == 17
    assert (first.target_yaw_deg[0], first.target_yaw_deg[8], first.target_yaw_deg[16]) == (0.0, 20.0, 50.0)
    second = next(case for case in bench.cases if case.clip_id == "a2")
    assert (second.expression_bin, first.expression_bin) == ("expression_changed", "expression_kept")
    assert second.prompt == "Person 0 turns."
    assert bench.licences == {"painted": "CC0-1.0"}
    floor = bench.bounds["yaw_0_20"]
    assert floor.stranger_pairs > 0
    assert floor.stranger_pairs % 3 == 0, "every picture with each of the three others"
    assert set(built.pictures) == set(bench.pictures)


def test_the_same_dataset_gives_the_same_bench_and_another_seed_another(painted: Painted, build: Callable[..., Built]) -> None:
    world = painted(PaintedClip("a1", 0), PaintedClip("b1", 1))
    bench = _of(build(world))
    assert _of(build(world)) == bench
    other = _of(build(world, seed=1))
    assert other.version != bench.version
    assert {case.clip_id: case.seed for case in other.cases} != {case.clip_id: case.seed for case in bench.cases}
    assert len(_of(build(world, most=1)).cases) == 1


def test_clips_that_others_train_on_do_not_change_it(painted: Painted, build: Callable[..., Built]) -> None:
    tested = [PaintedClip(f"{person}", person) for person in range(6)]
    bench = _of(build(painted(*tested)))
    assert not bench.strangers
    assert _of(build(painted(*tested, PaintedClip("t", 7, split="train")))) == bench


def test_a_clip_that_begins_in_profile_begins_where_a_face_can_condition_a_model(
    painted: Painted, build: Callable[..., Built]
) -> None:
    world = painted(PaintedClip("a", 0, yaws=(None, 80.0, 70.0, 40.0, 10.0, -20.0)))
    [case] = _of(build(world)).cases
    assert (case.begins, case.start_s, case.duration_s) == ("window", pytest.approx(0.3), pytest.approx(0.3))
    assert (case.reached_yaw_deg, case.target_yaw_deg[0], case.target_yaw_deg[-1]) == (40.0, 40.0, -20.0)


def test_frames_without_a_known_pose_are_not_tried(painted: Painted, build: Callable[..., Built]) -> None:
    [case] = _of(build(painted(PaintedClip("a", 0, yaws=(80.0,) * 17 + (10.0, 5.0))))).cases
    assert (case.begins, case.start_s) == ("window", pytest.approx(1.7))


def test_a_clip_without_such_a_frame_begins_with_another_frame_of_the_person(
    painted: Painted, build: Callable[..., Built]
) -> None:
    profile = PaintedClip("p", 0, yaws=(80.0, 75.0, 70.0), references=())
    world = painted(profile, PaintedClip("q", 0, yaws=(30.0, 2.0, -30.0)))
    built = build(world, seed=3)
    assert _ends(built) == {"p": ("gallery", "ok", None), "q": ("window", "ok", None)}
    bench = _of(built)
    case = next(case for case in bench.cases if case.clip_id == "p")
    assert (case.start_s, case.duration_s, case.centre_xy_px) == (0.0, pytest.approx(0.3), MIDDLE)
    assert case.yaw_bin == "yaw_unknown"
    [person] = bench.persons
    # The sharpest frontal frame is given to `p`, the first frame of `q` to `q`: one picture is left to be measured against.
    assert [(face.clip_id, face.yaw_deg) for face in person.gallery] == [("q", pytest.approx(-30.0))]
    assert {clip.clip_id for clip in person.clips} == {"p", "q"}


def test_no_frame_that_is_given_is_measured_against(painted: Painted, build: Callable[..., Built]) -> None:
    world = painted(PaintedClip("a", 0, yaws=(0.0, 20.0, -20.0, 40.0, -40.0)))
    [person] = _of(build(world)).persons
    assert all(face.pts != 0 for face in person.gallery)
    assert abs(person.gallery[0].yaw_deg or 0.0) == pytest.approx(20.0)


def test_no_photo_is_in_a_gallery(painted: Painted, build: Callable[..., Built]) -> None:
    turning = tuple(float(yaw) for yaw in range(-60, 61, 20))
    bench = _of(build(painted(PaintedClip("a", 0, yaws=turning), PaintedClip("b", 0, yaws=turning[::-1]))))
    [person] = bench.persons
    assert len(person.gallery) == 7, "each pose once, of the 12 pictures that no case begins with"
    for case in bench.cases:
        assert len(case.photos) == 3
        assert not set(case.photos) & {face.path for face in person.gallery}


def test_photos_of_other_clips_come_first() -> None:
    """Of four photos a case gets three: its own clip's only where there are no others."""
    pictures: dict[str, bytes] = {}
    photos = placed_photos(0, Looks("person", (), (("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"4"))), pictures)
    assert pictures == {f"photos/000/{index:02d}.png": str(index + 1).encode() for index in range(4)}
    assert [path[-6:-4] for path in photos_of("a", photos)] == ["01", "03", "00"]
    assert [path[-6:-4] for path in photos_of("d", photos)] == ["00", "01", "02"]


def test_the_largest_face_must_be_the_persons(painted: Painted, build: Callable[..., Built]) -> None:
    built = build(painted(PaintedClip("a", 0, beside=5), PaintedClip("b", 1)))
    assert _ends(built) == {"a": (None, "rejected", "pose_unknown"), "b": ("window", "ok", None)}
    assert [person.identity_id for person in _of(built).persons] == ["person-1"]


@pytest.mark.parametrize(("broken", "told"), [(None, "has disappeared"), (b"no video", "has changed")])
def test_a_clip_that_cannot_be_read_costs_its_own_case_alone(
    painted: Painted, build: Callable[..., Built], broken: bytes | None, told: str
) -> None:
    world = painted(PaintedClip("a", 0), PaintedClip("b", 0), PaintedClip("c", 1))
    (world.footage / "a").unlink() if broken is None else (world.footage / "a").write_bytes(broken)
    built = build(world)
    assert _ends(built) == {"a": (None, "error", "unreadable"), "b": ("window", "ok", None), "c": ("window", "ok", None)}
    assert told in built.rows.row(0, named=True)["detail"]
    assert {case.clip_id for case in _of(built).cases} == {"b", "c"}
    assert set(built.rows["bench_version"]) == {_of(built).version}


def test_an_engine_on_gpus_is_fed_by_a_child_each(painted: Painted, store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    world = painted(PaintedClip("a", 0))
    told: list[tuple[Any, Any]] = []

    def spied(work: Any, tasks: Any, deadline_s: Any, children: Any, **rest: Any) -> Any:
        told.append((children.count, list(children.environments)))
        return map_footage(work, tasks, deadline_s, **rest)

    map_footage = bench_building.map_footage
    monkeypatch.setattr(bench_building, "map_footage", spied)
    given = (world.dataset, world.dataset.clear(), world.faces, world.find, store, PaintedEngine.info)
    asked = {"name": "painted", "most": 1, "seed": 0}
    cards = [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    build_bench(*given, **asked, feeders=cards)
    assert told
    assert all(one == (2, cards) for one in told)
    told.clear()
    build_bench(*given, **asked)
    assert all(one == (None, []) for one in told)


def test_an_engine_that_fails_on_a_person_costs_that_persons_cases(
    painted: Painted, build: Callable[..., Built], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = painted(PaintedClip("a", 0), PaintedClip("b", 1))
    look_at = bench_looks.look_at

    def failing(task: Any) -> Any:
        if task.person.identity_id == "person-0":
            raise RuntimeError("no more memory on the card")
        return look_at(task)

    monkeypatch.setattr(bench_looks, "look_at", failing)
    built = build(world)
    assert _ends(built) == {"a": (None, "error", "engine_failed"), "b": ("window", "ok", None)}
    assert "its person's pictures: RuntimeError: no more memory" in built.rows.row(0, named=True)["detail"]


def test_persons_without_a_picture_that_is_found_again_give_no_bench(
    painted: Painted, build: Callable[..., Built], store: FileStore
) -> None:
    world = painted(PaintedClip("a", 0))
    for path in store.list_tree("crops"):
        store.remove(path)
    built = build(world)
    assert built.bench is None
    assert _ends(built) == {"a": (None, "rejected", "no_face")}
    assert built.rows.select("bench_version", "bench_path").row(0) == (None, None)


def test_without_a_test_split_nothing_is_asked_for(painted: Painted, build: Callable[..., Built]) -> None:
    built = build(painted(PaintedClip("a", 0, split="train")))
    assert (built.bench, built.rows.height) == (None, 0)
