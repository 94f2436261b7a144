"""The fit: restricted reading of the mean shape, determinism, provenance of the shipped weights."""

import hashlib
import json
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load

from model.face_engine.fit_landmark_pose import FitSettings, fit, mean_shape_path, provenance_of, read_mean_shape, serialise
from model.face_engine.landmark_pose import WEIGHTS, load_landmark_pose

TINY = FitSettings(faces=600, steps=12, batch=64)


class Trap:
    """Unpickled by an ordinary unpickler, it would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("a pickle ran code",)


def test_the_mean_shape_reader_refuses_everything_but_arrays(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        read_mean_shape(pickle.dumps(Trap()))
    assert capsys.readouterr().out == ""


def test_the_mean_shape_stands_upright_and_looks_at_the_camera() -> None:
    pytest.importorskip("insightface", reason="the mean shape comes with insightface (the extra 'data')")
    shape = read_mean_shape(mean_shape_path().read_bytes())
    assert shape.shape == (68, 3)
    brow, nose_tip, chin, jaw_right = shape[19], shape[30], shape[8], shape[16]
    assert brow[1] > nose_tip[1] > chin[1]
    assert nose_tip[2] == shape[:, 2].max()
    assert jaw_right[0] == shape[:, 0].max()


def test_the_fit_gives_the_same_bytes_twice_and_others_for_another_seed() -> None:
    shape = load_landmark_pose().mean_shape
    first = serialise(fit(shape, TINY), {"a": "1", "b": "2"})
    assert serialise(fit(shape, TINY), {"a": "1", "b": "2"}) == first
    assert serialise(fit(shape, TINY.model_copy(update={"seed": 1})), {"a": "1", "b": "2"}) != first


def test_more_steps_fit_better() -> None:
    from model.face_engine.fit_landmark_pose import synthetic_errors_deg

    shape = load_landmark_pose().mean_shape
    few, more = (synthetic_errors_deg(fit(shape, FitSettings(faces=4_000, steps=n)), 7)["0-15"][0] for n in (4, 120))
    assert more < few / 2


def test_the_file_holds_what_was_fitted() -> None:
    pose = fit(load_landmark_pose().mean_shape, TINY)
    tensors = load(serialise(pose, {}))
    np.testing.assert_array_equal(tensors["all_points.0.weight"].astype(np.float64), pose.all_points[0][0])
    np.testing.assert_array_equal(tensors["inner_points.2.bias"].astype(np.float64), pose.inner_points[2][1])


def test_the_shipped_weights_tell_where_they_come_from() -> None:
    pytest.importorskip("insightface", reason="the mean shape comes with insightface (the extra 'data')")
    with safe_open(WEIGHTS, "np") as file:
        provenance = json.loads(file.metadata()["provenance"])
    content = mean_shape_path().read_bytes()
    assert provenance["mean_shape_sha256"] == hashlib.sha256(content).hexdigest()
    assert provenance["mean_shape_licence"].startswith("MIT")
    assert FitSettings.model_validate_json(provenance["settings"]) == FitSettings()
    assert provenance.keys() == provenance_of(content, FitSettings()).keys()
    np.testing.assert_allclose(load_landmark_pose().mean_shape, read_mean_shape(content), atol=1e-6)
    assert WEIGHTS.stat().st_size < 64 * 1024
