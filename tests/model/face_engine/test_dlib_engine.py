"""The dlib engine on the two public-domain portraits that dependencies carry, and on images without a face."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PilImage

from model.face_engine.dlib_engine import DlibEngine, DlibSettings
from model.face_engine.interface import Face, FaceEngine
from model.face_engine.landmark_pose import MIRROR

Image = NDArray[np.uint8]
PORTRAITS = ("eileen_collins", "grace_hopper")


@pytest.fixture(scope="module")
def engine() -> DlibEngine:
    return DlibEngine()


@pytest.fixture(scope="module")
def portraits() -> dict[str, Image]:
    skimage_data = pytest.importorskip("skimage.data", reason="the portrait of Eileen Collins comes with scikit-image")
    matplotlib = pytest.importorskip("matplotlib", reason="the portrait of Grace Hopper comes with matplotlib")
    with PilImage.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg") as hopper:
        return {"eileen_collins": skimage_data.astronaut(), "grace_hopper": np.asarray(hopper.convert("RGB"))}


@pytest.fixture(scope="module")
def faces(engine: DlibEngine, portraits: dict[str, Image]) -> dict[str, Face]:
    """Of the portraits as they are."""
    return {name: only_face(engine, portraits[name]) for name in PORTRAITS}


def only_face(engine: FaceEngine, image: Image) -> Face:
    faces = engine.detect(image)
    assert len(faces) == 1
    return faces[0]


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_portrait_gives_every_measure(engine: DlibEngine, faces: dict[str, Face], name: str) -> None:
    face = faces[name]
    x1, y1, x2, y2 = face.box_xyxy_px
    assert face.landmarks_px.shape == (68, 2)
    assert face.landmarks_px.dtype == np.float32
    assert np.all((face.landmarks_px[36:48] > (x1, y1)) & (face.landmarks_px[36:48] < (x2, y2)))
    assert face.score is not None
    assert face.score > 0.5
    assert face.embedding is not None
    assert face.embedding.shape == (engine.info.embedding_dim,)
    assert face.embedding.dtype == np.float32
    assert np.linalg.norm(face.embedding) == pytest.approx(1.0, abs=1e-5)
    assert face.angles is not None
    assert np.abs(face.angles).max() < 20
    assert face.mouth_opening is not None
    assert 0 <= face.mouth_opening < 0.2


def test_eileen_collins_smiles_with_open_lips_and_grace_hopper_does_not(faces: dict[str, Face]) -> None:
    collins, hopper = (faces[name] for name in PORTRAITS)
    assert collins.mouth_opening is not None
    assert hopper.mouth_opening is not None
    assert collins.mouth_opening > hopper.mouth_opening + 0.03
    assert collins.expression is not None
    assert hopper.expression is not None
    assert collins.expression.mouth_width > hopper.expression.mouth_width + 0.03
    for eye_opening, brow_height, _ in (collins.expression, hopper.expression):
        assert 0.03 < eye_opening < 0.15 < brow_height < 0.35


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_mirrored_face_has_mirrored_landmarks_and_angles(
    engine: DlibEngine, portraits: dict[str, Image], faces: dict[str, Face], name: str
) -> None:
    image, face = portraits[name], faces[name]
    last_x = image.shape[1] - 1
    x1, y1, x2, y2 = (round(edge) for edge in face.box_xyxy_px)
    seen = engine.landmarks(image, (x1, y1, x2, y2))
    mirrored = engine.landmarks(np.ascontiguousarray(image[:, ::-1]), (last_x - x2, y1, last_x - x1, y2))
    assert seen is not None
    assert mirrored is not None
    assert seen.angles is not None
    assert mirrored.angles is not None
    yaw, pitch, roll = seen.angles
    np.testing.assert_allclose(mirrored.landmarks_px[MIRROR] * (-1, 1) + (last_x, 0), seen.landmarks_px, atol=1.0)
    assert mirrored.angles == pytest.approx((-yaw, pitch, -roll), abs=0.7)


def test_roll_follows_the_image_and_its_mirror(engine: DlibEngine, portraits: dict[str, Image]) -> None:
    portrait = portraits["grace_hopper"]
    clockwise = np.asarray(PilImage.fromarray(portrait).rotate(-15, PilImage.Resampling.BICUBIC))
    upright, tilted, mirrored = (only_face(engine, image).angles for image in (portrait, clockwise, clockwise[:, ::-1]))
    assert upright is not None
    assert tilted is not None
    assert mirrored is not None
    assert tilted.roll_deg - upright.roll_deg == pytest.approx(15, abs=3)
    assert mirrored.roll_deg == pytest.approx(-tilted.roll_deg, abs=3)


def test_embeddings_tell_the_two_apart_and_know_a_changed_picture(
    engine: DlibEngine, portraits: dict[str, Image], faces: dict[str, Face]
) -> None:
    collins, hopper = (faces[name].embedding for name in PORTRAITS)
    darker = only_face(engine, (portraits["eileen_collins"][:, ::-1] * 0.7).astype(np.uint8)).embedding
    assert collins is not None
    assert hopper is not None
    assert darker is not None
    assert collins @ darker > 0.95
    assert collins @ hopper < 0.9


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_face_that_fills_the_frame_is_found_by_padding(
    engine: DlibEngine, portraits: dict[str, Image], faces: dict[str, Face], name: str
) -> None:
    points = faces[name].landmarks_px
    (x1, y1), (x2, y2) = points.min(axis=0).astype(int), points.max(axis=0).astype(int)
    y1 += round(0.15 * (x2 - x1))
    crop = portraits[name][y1:y2, x1:x2]
    assert engine._pass(crop, side_px=640, pad_px=0, min_score=engine.settings.min_score) == []
    assert engine._pass(crop, side_px=1280, pad_px=0, min_score=engine.settings.retry_min_score) == []
    tight = only_face(engine, crop).landmarks_px + np.float32((x1, y1))
    np.testing.assert_allclose(tight[27:48], points[27:48], atol=0.06 * (x2 - x1))


def test_a_small_face_is_found_by_enlarging(engine: DlibEngine, portraits: dict[str, Image]) -> None:
    canvas = np.full((720, 1280, 3), 90, np.uint8)
    canvas[200:620, 500:920] = np.asarray(PilImage.fromarray(portraits["eileen_collins"]).resize((420, 420)))
    assert engine._pass(canvas, side_px=640, pad_px=0, min_score=engine.settings.min_score) == []
    face = only_face(engine, canvas)
    assert face.box_xyxy_px[2] - face.box_xyxy_px[0] < 1280 / 8
    assert 500 < face.landmarks_px[30, 0] < 920


@pytest.mark.parametrize("texture", ["flat", "noise", "gravel"])
def test_no_face_where_there_is_none(engine: DlibEngine, texture: str) -> None:
    if texture == "gravel":
        grey = pytest.importorskip("skimage.data").gravel()
        image = np.stack([grey] * 3, axis=-1)
    elif texture == "noise":
        image = np.random.default_rng(0).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    else:
        image = np.full((360, 640, 3), 128, np.uint8)
    assert engine.detect(image) == []
    assert engine.landmarks(image) is None


def test_two_faces_come_largest_first(engine: DlibEngine, portraits: dict[str, Image]) -> None:
    canvas = np.zeros((600, 250 + 512, 3), np.uint8)
    canvas[:300, :250] = portraits["eileen_collins"][:300, 100:350]
    canvas[:, 250:] = portraits["grace_hopper"]
    first, second = engine.detect(canvas, embed=False)
    assert first.area_px > second.area_px
    assert first.landmarks_px[30, 0] > 250 > second.landmarks_px[30, 0]


def test_the_cheap_paths_measure_the_same_without_embedding(
    engine: DlibEngine, portraits: dict[str, Image], faces: dict[str, Face]
) -> None:
    image, full = portraits["grace_hopper"], faces["grace_hopper"]
    (cheap,) = engine.detect(image, embed=False)
    detected, tracked = engine.landmarks(image), engine.landmarks(image, full.box_xyxy_px)
    assert detected is not None
    assert tracked is not None
    for face in (cheap, detected, tracked):
        assert face.embedding is None
        np.testing.assert_array_equal(face.landmarks_px, full.landmarks_px)
        assert face.angles == full.angles
        assert (face.mouth_opening, face.expression) == (full.mouth_opening, full.expression)
    assert detected.score == full.score
    assert tracked.score is None


def test_a_box_without_a_face_gives_no_pose(engine: DlibEngine) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    face = engine.landmarks(noise, (100.0, 100.0, 300.0, 300.0))
    assert face is not None
    assert face.rotation is None
    assert face.angles is None
    assert face.mouth_opening is face.expression is None


def test_the_same_image_gives_the_same_numbers(portraits: dict[str, Image], faces: dict[str, Face]) -> None:
    first, second = faces["eileen_collins"], only_face(DlibEngine(), portraits["eileen_collins"])
    np.testing.assert_array_equal(first.embedding, second.embedding)
    np.testing.assert_array_equal(first.rotation, second.rotation)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 4)])
def test_an_image_of_another_shape_is_refused(engine: DlibEngine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(H, W, 3\) uint8"):
        engine.detect(np.zeros(shape, np.uint8))


def test_a_float_image_is_refused(engine: DlibEngine) -> None:
    with pytest.raises(ValueError, match="float32"):
        engine.landmarks(np.zeros((64, 64, 3), np.float32))  # type: ignore[arg-type]


def test_a_box_outside_the_image_is_refused(engine: DlibEngine) -> None:
    with pytest.raises(ValueError, match="outside the image of 80 x 60 px"):
        engine.landmarks(np.zeros((60, 80, 3), np.uint8), (200.0, 10.0, 240.0, 50.0))


def test_the_fingerprint_follows_the_settings(engine: DlibEngine) -> None:
    assert DlibEngine().info == engine.info
    assert DlibEngine(DlibSettings(detection_side_px=800)).info.fingerprint != engine.info.fingerprint
    assert engine.info.name == "dlib"
    assert engine.info.licence == "non-commercial-research"
    assert "dlib-bin 2" in engine.info.version


@pytest.mark.parametrize("name", PORTRAITS)
def test_a_glance_gives_box_score_and_five_points(
    engine: DlibEngine, portraits: dict[str, Image], faces: dict[str, Face], name: str
) -> None:
    full = faces[name]
    face = max(engine.glance(portraits[name], side_px=400), key=lambda seen: seen.score or 0.0)
    assert face.landmarks_px.shape == (5, 2)
    assert (face.rotation, face.embedding, face.mouth_opening) == (None, None, None)
    assert face.score is not None
    width = full.box_xyxy_px[2] - full.box_xyxy_px[0]
    points = full.landmarks_px
    five = np.stack([points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]])
    np.testing.assert_allclose(face.landmarks_px, five, atol=0.08 * width)


def test_a_glance_sees_lower_scores_than_a_look(engine: DlibEngine, portraits: dict[str, Image]) -> None:
    """A portrait so blurred that the detector's score falls below nought."""
    blurred = np.asarray(PilImage.fromarray(portraits["grace_hopper"]).resize((36, 36)).resize((640, 640)))
    assert engine._boxes(blurred, side_px=320) == []
    (face,) = engine.glance(blurred, side_px=320)
    assert face.score is not None
    assert face.score < 0


def test_many_images_are_each_image(engine: DlibEngine, portraits: dict[str, Image]) -> None:
    images = [portraits["grace_hopper"], np.zeros((100, 100, 3), np.uint8), portraits["eileen_collins"]]
    many = engine.detect_many(images, embed=False)
    assert [len(faces) for faces in many] == [1, 0, 1]
    for image, (face,) in zip(images[::2], many[::2], strict=True):
        np.testing.assert_array_equal(face.landmarks_px, engine.detect(image, embed=False)[0].landmarks_px)
        assert face.embedding is None
