"""`lafid.toml` as it is read, and what it tells one asset."""

from pathlib import Path

import pytest

from lafid_assets.constraints.policies import POLICIES, FacePolicy, PolicyUnusable
from lafid_assets.lafid_toml.settings_file import SettingsFile, SettingsUnusable, merged
from lafid_assets.lafid_toml.settings_place import SettingsPlace
from resources.store.file_store import FileStore
from resources.transient_errors import is_transient


def _file(folder: Path, text: str) -> SettingsFile:
    (folder / "lafid.toml").write_text(text)
    return SettingsFile.of(folder)


def test_a_home_without_a_file_has_every_default(tmp_path: Path) -> None:
    file = SettingsFile.of(tmp_path)
    assert file.of_asset("face_info") == {}
    assert (file.general.sources.clips_per_shard, file.general.automation.refresh_cron) == (500, "0 2 * * *")


def test_an_engine_that_is_said_once_counts_for_both_assets_that_look_at_faces(tmp_path: Path) -> None:
    file = _file(tmp_path, 'version = 1\n[engine]\nengine = "dlib"\n[face_info]\nscan = false\n')
    assert file.of_asset("face_info") == {"scan": False, "engine": "dlib"}
    assert file.of_asset("speech_info") == {"engine": "dlib"}
    assert file.of_asset("raw_clips") == {}


def test_the_registered_model_is_named_by_the_file(tmp_path: Path) -> None:
    assert SettingsFile.of(tmp_path).model_name == "lafid"
    assert _file(tmp_path, '[release]\nmodel_name = "team"\n').model_name == "team"


def test_a_policy_is_changed_by_the_lines_beside_it(tmp_path: Path) -> None:
    section = '[pose_filtered_clips]\npolicy = "faithfulfaces"\npose_variation_min_deg = 90\nfaces_in_frame_max = "none"\n'
    policy = FacePolicy(**_file(tmp_path, section).of_asset("pose_filtered_clips"))
    changed = {"name": "faithfulfaces+", "pose_variation_min_deg": 90.0, "faces_in_frame_max": None}
    assert policy == POLICIES["faithfulfaces"].model_copy(update=changed)


def test_a_line_that_says_what_the_policy_says_makes_no_other_policy(tmp_path: Path) -> None:
    """Its hash is of the name, too: every shard would be decided anew, and be no dataset with those that are not."""
    section = '[pose_filtered_clips]\npolicy = "faithfulfaces"\npose_variation_min_deg = 120\nsharpness_min = "none"\n'
    assert FacePolicy(**_file(tmp_path, section).of_asset("pose_filtered_clips")) == POLICIES["faithfulfaces"]


def test_a_policy_file_lies_beside_the_settings(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("sharpness_min = 7.0\n")
    told = _file(tmp_path, '[pose_filtered_clips]\npolicy = "mine.toml"\n').of_asset("pose_filtered_clips")
    assert (told["name"], told["sharpness_min"]) == ("mine", 7.0)


def test_a_link_to_a_file_that_is_away_is_no_file_without_settings(tmp_path: Path) -> None:
    (tmp_path / "lafid.toml").symlink_to(tmp_path / "not mounted" / "lafid.toml")
    with pytest.raises(SettingsUnusable, match="is a link to a file that is not there"):
        SettingsFile.of(tmp_path)


def test_a_policy_is_not_looked_for_where_the_command_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The UI's runs would be told another one."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.toml").write_text("sharpness_min = 7.0\n")
    monkeypatch.chdir(elsewhere)
    with pytest.raises(
        PolicyUnusable, match="there is no policy 'mine.toml': choose cofe, .*, or give a TOML file beside lafid.toml"
    ):
        _file(tmp_path, '[pose_filtered_clips]\npolicy = "mine.toml"\n').of_asset("pose_filtered_clips")


def test_a_byte_order_mark_is_tolerated(tmp_path: Path) -> None:
    (tmp_path / "lafid.toml").write_bytes("\ufeffversion = 1\n".encode())
    assert SettingsFile.of(tmp_path).general.version == 1


def test_a_threshold_that_is_none_is_named_with_its_file(tmp_path: Path) -> None:
    file = _file(tmp_path, '[pose_filtered_clips]\nsharpness_min = "abc"\n')
    with pytest.raises(SettingsUnusable, match=r"lafid.toml, \[pose_filtered_clips\]: sharpness_min: "):
        file.face_policy()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("version = 2", "lafid.toml: version: Input should be 1"),
        ("engine = 'dlib'", "engine stands in no section: put it below one"),
        ("[sources]\nclips_per_shard = 0", "sources.clips_per_shard: Input should be greater than or equal to 1"),
        ("[sources]\nclips = 5", "sources.clips: there is no such line"),
        ("[engine", "lafid.toml is no TOML"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(SettingsUnusable, match=complaint):
        _file(tmp_path, text)


def test_what_is_said_twice_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path, '[engine]\nengine = "dlib"\n[face_info]\nengine = "insightface"\n')
    with pytest.raises(SettingsUnusable, match=r"engine is said in \[engine\] and in \[face_info\]: keep one"):
        file.of_asset("face_info")


def test_of_a_group_of_lines_only_the_named_ones_change() -> None:
    lines = {"scan": True, "limits": {"workers": 2, "error_budget": 0.1}}
    assert merged(lines, {"limits": {"workers": 3}}) == {"scan": True, "limits": {"workers": 3, "error_budget": 0.1}}
    assert merged(lines, {"limits": None})["limits"] is None


def test_one_file_tells_all_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = tmp_path / "share" / "lafid.toml"
    monkeypatch.setenv("LAFID_SETTINGS", str(shared))
    (tmp_path / "lafid.toml").write_text("version = 2\n")
    with pytest.raises(SettingsUnusable, match=r"LAFID_SETTINGS names .*share/lafid.toml, which is not there: write it by"):
        SettingsFile.of(tmp_path)  # a machine that does not see it would decide by defaults
    shared.parent.mkdir()
    shared.write_text('[pose_filtered_clips]\npolicy = "mine.toml"\n')
    (shared.parent / "mine.toml").write_text("sharpness_min = 7.0\n")
    assert SettingsFile.of(tmp_path).face_policy().sharpness_min == 7.0
    monkeypatch.setenv("LAFID_SETTINGS", str(shared.parent))
    with pytest.raises(SettingsUnusable, match=r"LAFID_SETTINGS is .*share: name the file itself, as .*share/lafid.toml"):
        SettingsFile.of(tmp_path)


def test_the_file_of_all_machines_may_lie_in_a_bucket(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAFID_SETTINGS", f"s3://{bucket}/run/lafid.toml")
    place = SettingsPlace.of(tmp_path)
    place.write('[pose_filtered_clips]\npolicy = "mine.toml"\n')
    FileStore(f"s3://{bucket}/run").write_bytes("mine.toml", b"sharpness_min = 7.0\n")
    file = SettingsFile.of(tmp_path)
    assert (file.path, file.is_there) == (f"s3://{bucket}/run/lafid.toml", True)
    assert file.face_policy().sharpness_min == 7.0
    with pytest.raises(FileExistsError, match="s3://.*/run/lafid.toml is there already"):
        place.write("")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(SettingsUnusable, match=r"cannot read lafid.toml of s3://.*/run \(.*\): mend that") as caught:
        SettingsFile.of(tmp_path)
    assert is_transient(caught.value)
