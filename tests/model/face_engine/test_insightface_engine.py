"""insightface's networks on real photos and frames: the numbers of a careful user's script, and what the script misses."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from model.encoding.video_io import read_frames
from model.face_engine.dlib_engine import DlibEngine
from model.face_engine.five_points import head_height_px
from model.face_engine.insightface_engine import GLANCE_MIN_SCORE, InsightfaceEngine, InsightfaceSettings, _fitted_input, describe
from model.face_engine.interface import Image
from model.face_engine.selection import choose_parts
from model.model_store.store import ModelMissing, ModelStore

PHOTOS = ("human_group-2.jpg", "human_emoA_3.jpg", "human_person-vlado5.jpg", "still_B_yaw-30__intel_gaze_demo_f546.jpg")


@pytest.fixture(scope="module")
def engine(real_store: ModelStore) -> InsightfaceEngine:
    return InsightfaceEngine(choose_parts(real_store))


@pytest.fixture(scope="module")
def photo(testdata: Path) -> Callable[[str], Image]:
    return lambda name: np.asarray(PilImage.open(testdata / "photos" / name).convert("RGB"))


@pytest.fixture(scope="module")
def face_analysis(real_store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The script that a careful user would write."""
    from insightface.app import FaceAnalysis

    folder = tmp_path_factory.mktemp("pack") / "pack"
    folder.mkdir()
    for name in ("scrfd_2.5g", "arcface_mobilefacenet_foamliu"):
        for file in real_store.record(name).files:
            (folder / file.name).symlink_to(real_store.folder(name) / file.name)
    app = FaceAnalysis(name=str(folder), providers=["CPUExecutionProvider"])
    app.prepare(ctx_id=-1, det_size=(640, 640))
    return app


@pytest.mark.parametrize("name", PHOTOS)
def test_numbers_are_those_of_face_analysis(engine: InsightfaceEngine, face_analysis: Any, photo: Any, name: str) -> None:
    image = photo(name)
    expected = face_analysis.get(np.ascontiguousarray(image[..., ::-1]))
    expected.sort(key=lambda face: -(face.bbox[2] - face.bbox[0]) * (face.bbox[3] - face.bbox[1]))
    faces = engine.detect(image)
    assert len(faces) == len(expected) > 0
    for face, theirs in zip(faces, expected, strict=True):
        np.testing.assert_allclose(face.box_xyxy_px, theirs.bbox, atol=1e-2)
        np.testing.assert_allclose(face.landmarks_px, theirs.kps, atol=1e-2)
        assert face.score == pytest.approx(theirs.det_score, abs=1e-4)
        assert face.embedding is not None
        assert face.embedding @ theirs.normed_embedding > 1 - 1e-5


def test_embeddings_are_unit_vectors_that_tell_people_apart(engine: InsightfaceEngine, photo: Any) -> None:
    names = ("human_person-vlado1.jpg", "human_person-vlado5.jpg", "human_emoA_3.jpg")
    vlado, again, other = (engine.detect(photo(name))[0].embedding for name in names)
    assert vlado.shape == (engine.info.embedding_dim,) == (128,)
    assert vlado.dtype == np.float32
    assert np.linalg.norm(vlado) == pytest.approx(1, abs=1e-5)
    assert vlado @ again > 0.4
    assert vlado @ other < 0.3
    assert engine.detect(photo(names[0]), embed=False)[0].embedding is None


def test_faces_come_largest_first(engine: InsightfaceEngine, photo: Any) -> None:
    areas = [face.area_px for face in engine.detect(photo("human_group-2.jpg"), embed=False)]
    assert len(areas) == 3
    assert areas == sorted(areas, reverse=True)


def test_many_images_are_each_image_to_the_bit(engine: InsightfaceEngine, photo: Any) -> None:
    images = [photo(PHOTOS[0]), np.zeros((120, 200, 3), np.uint8), photo(PHOTOS[2])]
    many = engine.detect_many(images)
    assert [len(faces) for faces in many] == [3, 0, 1]
    for image, faces in zip(images, many, strict=True):
        for face, alone in zip(faces, engine.detect(image), strict=True):
            np.testing.assert_array_equal(face.embedding, alone.embedding)
            np.testing.assert_array_equal(face.rotation, alone.rotation)
            assert (face.box_xyxy_px, face.mouth_opening) == (alone.box_xyxy_px, alone.mouth_opening)


def test_a_face_that_fills_the_frame_is_found_by_padding(engine: InsightfaceEngine, testdata: Path) -> None:
    """liveportrait_d3 needs it in nearly every frame."""
    frames = read_frames(testdata / "clips" / "liveportrait_d3.mp4", [0.0, 4.0, 8.0])
    missed = [frame for frame in frames if not engine._pass(frame, None)]
    assert missed
    for frame in missed:
        (face,) = engine.detect(frame)
        x1, y1, x2, y2 = face.box_xyxy_px
        height, width = frame.shape[:2]
        assert 0.5 * height < y2 - y1 < 1.2 * height
        assert np.all((face.landmarks_px > 0) & (face.landmarks_px < (width, height)))
        assert x1 < face.landmarks_px[2, 0] < x2
        (seen,) = engine.glance(frame, side_px=320)
        np.testing.assert_allclose(seen.landmarks_px, face.landmarks_px, atol=0.05 * height)


def test_no_face_where_there_is_none(engine: InsightfaceEngine, photo: Any) -> None:
    assert engine.detect(photo("human_background_noface.jpg")) == []
    assert engine.landmarks(photo("human_background_noface.jpg")) is None


def test_a_glance_sees_the_same_faces_from_a_small_input(engine: InsightfaceEngine, photo: Any) -> None:
    for name in PHOTOS[1:]:
        image = photo(name)
        (full,) = engine.detect(image, embed=False)
        (seen,) = engine.glance(image, side_px=320)
        width = full.box_xyxy_px[2] - full.box_xyxy_px[0]
        np.testing.assert_allclose(seen.landmarks_px, full.landmarks_px, atol=0.1 * width)
        assert (seen.rotation, seen.embedding, seen.mouth_opening) == (None, None, None)


def test_a_glance_reports_low_scores(engine: InsightfaceEngine, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[tuple[int, int], float]] = []
    detect = engine._detector.detect

    def spy(image: Image, input_size: tuple[int, int], det_thresh: float) -> Any:
        asked.append((input_size, det_thresh))
        return detect(image, input_size=input_size, det_thresh=det_thresh)

    monkeypatch.setattr(engine._detector, "detect", spy)
    engine.glance(photo(PHOTOS[3]), side_px=320)
    engine.detect(photo(PHOTOS[3]), embed=False)
    assert asked == [((320, 192), GLANCE_MIN_SCORE), ((640, 640), 0.5)]


@pytest.mark.parametrize(
    ("size", "side_px", "fitted"),
    [
        ((1080, 1920), 320, (320, 192)),
        ((1920, 1080), 320, (192, 320)),
        ((512, 512), 256, (256, 256)),
        ((40, 4000), 320, (320, 32)),
    ],
)
def test_the_small_input_has_the_shape_of_the_frame(size: tuple[int, int], side_px: int, fitted: tuple[int, int]) -> None:
    assert _fitted_input(np.zeros((*size, 3), np.uint8), side_px) == fitted


def test_a_detector_with_a_fixed_input_works_too(real_store: ModelStore, photo: Any) -> None:
    fixed = InsightfaceEngine(choose_parts(real_store, detector="scrfd_500m", mouth="none"))
    image = photo(PHOTOS[3])
    (face,) = fixed.detect(image, embed=False)
    (seen,) = fixed.glance(image, side_px=320)
    np.testing.assert_array_equal(face.landmarks_px, seen.landmarks_px)
    assert face.mouth_opening is None


def test_landmarks_of_a_given_box_are_found_without_detection(
    engine: InsightfaceEngine, photo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = photo(PHOTOS[3])
    (full,) = engine.detect(image, embed=False)
    alone = engine.landmarks(image)
    monkeypatch.setattr(engine, "_pass", None)
    face = engine.landmarks(image, full.box_xyxy_px)
    assert face is not None
    assert alone is not None
    assert face.landmarks_px.shape == (68, 2)
    np.testing.assert_array_equal(face.landmarks_px, alone.landmarks_px)
    eyes = face.landmarks_px[36:42].mean(axis=0), face.landmarks_px[42:48].mean(axis=0)
    width = full.box_xyxy_px[2] - full.box_xyxy_px[0]
    np.testing.assert_allclose(np.stack([*eyes, face.landmarks_px[30]]), full.landmarks_px[:3], atol=0.08 * width)
    assert (face.score, face.embedding) == (None, None)
    assert face.angles is not None
    assert face.mouth_opening == pytest.approx(full.mouth_opening, abs=0.02)


def test_without_a_mouth_model_there_is_a_pose_and_no_mouth(real_store: ModelStore, photo: Any) -> None:
    silent = InsightfaceEngine(choose_parts(real_store, mouth="none"))
    image = photo(PHOTOS[1])
    (full,) = silent.detect(image, embed=False)
    face = silent.landmarks(image, full.box_xyxy_px)
    assert face is not None
    assert full.mouth_opening is face.mouth_opening is full.expression is None
    assert face.landmarks_px.shape == (0, 2)
    np.testing.assert_array_equal(face.rotation, full.rotation)


def test_mouth_and_size_are_as_dlib_sees_them(engine: InsightfaceEngine, testdata: Path) -> None:
    frames = read_frames(testdata / "clips" / "liveportrait_d11.mp4", [0.3 * k for k in range(14)])
    dlib = DlibEngine()
    pairs, widths, heads = [], [], []
    for frame in frames:
        ours, theirs = engine.detect(frame, embed=False), dlib.detect(frame, embed=False)
        if ours and theirs and None not in (ours[0].mouth_opening, theirs[0].mouth_opening):
            pairs.append((ours[0].mouth_opening, theirs[0].mouth_opening))
            widths.append([face.expression.mouth_width for face in (ours[0], theirs[0]) if face.expression])
            heads.append([head_height_px(face.landmarks_px) for face in (ours[0], theirs[0])])
    assert np.corrcoef(np.array(widths).T)[0, 1] > 0.7
    sizes = np.array(heads)
    assert sizes[:, 0] == pytest.approx(sizes[:, 1], rel=0.08), (
        "a head is as large for either engine, while boxes differ by a fifth"
    )
    opening = np.array(pairs)
    assert len(opening) >= 12
    assert np.ptp(opening[:, 0]) > 0.05
    assert np.corrcoef(opening.T)[0, 1] > 0.9
    assert np.abs(opening[:, 0] - opening[:, 1]).mean() < 0.03


def test_what_is_recorded_names_embedder_and_licence(real_store: ModelStore) -> None:
    info = describe(choose_parts(real_store))
    assert info.name == "insightface/arcface_mobilefacenet_foamliu"
    assert info.licence == "non-commercial-research"
    assert info.embedding_dim == 128
    for part in ("insightface 2", "onnxruntime 1", "scrfd_2.5g", "fsanet", "face_mesh"):
        assert part in info.version
    assert info == InsightfaceEngine(choose_parts(real_store)).info


def test_the_fingerprint_knows_every_part_and_setting(real_store: ModelStore) -> None:
    infos = [
        describe(choose_parts(real_store)),
        describe(choose_parts(real_store, detector="scrfd_500m")),
        describe(choose_parts(real_store, embedder="arcface_mobilefacenet_insightface")),
        describe(choose_parts(real_store, mouth="none")),
        describe(choose_parts(real_store), InsightfaceSettings(detection_side_px=320)),
    ]
    assert len({info.fingerprint for info in infos}) == len(infos)
    assert describe(choose_parts(real_store)).fingerprint == infos[0].fingerprint


def test_describing_opens_no_network(real_store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise AssertionError(f"{path} was opened")

    for module in ("insightface_engine", "head_pose.fsanet", "mouth.landmark_networks"):
        monkeypatch.setattr(f"model.face_engine.{module}.open_session", refuse)
    assert InsightfaceEngine(choose_parts(real_store)).info.fingerprint


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4)])
def test_what_is_no_rgb_image_is_refused(engine: InsightfaceEngine, shape: tuple[int, ...]) -> None:
    image: NDArray[np.uint8] = np.zeros(shape, np.uint8)
    for look in (engine.detect, engine.landmarks, lambda wrong: engine.glance(wrong, side_px=320)):
        with pytest.raises(ValueError, match="an image is .H, W, 3. uint8 RGB"):
            look(image)


def test_an_input_that_scrfd_cannot_take_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        InsightfaceSettings(detection_side_px=333)


def test_a_checkpoint_finds_the_engine_of_its_embeddings(real_store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from model.release.pipeline import engine_named

    monkeypatch.setenv("LAFID_MODELS", str(real_store.root))
    for embedder in ("arcface_mobilefacenet_insightface", "arcface_mobilefacenet_foamliu"):
        trained_on = describe(choose_parts(real_store, embedder=embedder))
        found = engine_named(trained_on.name).info
        assert (found.name, found.embedding_dim) == (trained_on.name, trained_on.embedding_dim)
    with pytest.raises(ModelMissing, match="the model buffalo_l"):
        engine_named("insightface/buffalo_l")


def test_measuring_says_nothing_that_a_user_could_not_mend(real_store: ModelStore, photo: Any) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert InsightfaceEngine(choose_parts(real_store)).detect(photo(PHOTOS[1]))
    assert said == []
