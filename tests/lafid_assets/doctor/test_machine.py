"""What the doctor sees of the machine alone."""

import shutil
import sys
from collections import namedtuple
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from lafid_assets.doctor import machine
from lafid_assets.doctor.findings import Finding, Node, Remark, State, asked
from resources import software
from resources.face_engine import EngineUnknown
from resources.settings import PROJECT_ROOT, Settings
from resources.trainer.launch import LaunchUnusable

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def node(settings: Settings) -> Node:
    return Node(settings, None, is_cluster=False)


def _in_cluster(node: Node) -> Node:
    return Node(node.settings, None, is_cluster=True)


def test_a_check_that_fails_costs_only_itself_and_what_does_not_apply_is_left_out(node: Node) -> None:
    def breaks(_: Node) -> str:
        raise OSError("the disk is gone: bring it back")

    def odd(_: Node) -> str:
        raise Remark("odd: look")

    checks = [("a", breaks), ("b", lambda _: "well"), ("c", odd), ("d", lambda _: None)]
    assert list(asked(node, checks)) == [
        Finding("a", State.BLOCKS, "the disk is gone: bring it back"),
        Finding("b", State.OK, "well"),
        Finding("c", State.WARNS, "odd: look"),
    ]


def test_packages_are_compared_with_the_lock_of_this_python(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.installed(node) == f"{len(software.packages())} packages are as in {PROJECT_ROOT}/locks/all.txt"
    found = software.packages() | {"av": "1.0"}
    monkeypatch.setattr(machine, "packages", lambda extras: found)
    with pytest.raises(Remark, match=r"^av 1\.0, not \d+\.\d+\.\d+ as in .*/locks/all.txt: run `make .venv/.installed` in /"):
        machine.installed(node)
    monkeypatch.setattr(sys, "prefix", "/opt/lafid")
    monkeypatch.setattr(machine, "packages", lambda extras: {"ray": None} if "cluster" in extras else {})
    machine.installed(node)
    [finding] = asked(_in_cluster(node), [("packages", machine.installed)])
    assert finding.said == "the package ray is not installed: install lafid with its extras, `pip install 'lafid[all]'`"


def test_ray_starts_from_no_path_with_a_space(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "prefix", "/home/a user/lafid/.venv")
    machine.installed(node)
    with pytest.raises(
        Remark, match=r"^a node of Ray does not start from /home/a user/lafid/.venv, for it holds a space: install"
    ):
        machine.installed(_in_cluster(node))


def test_a_missing_model_is_named_with_the_command_that_brings_it(node: Node) -> None:
    assert machine.models(node).startswith("face engine dlib (auto: ")
    node.settings.home.mkdir()
    (node.settings.home / "lafid.toml").write_text('[engine]\nengine = "insightface"\n')
    [finding] = asked(node, [("models", machine.models)])
    assert finding.state is State.BLOCKS
    assert "`lafid models " in finding.said
    (node.settings.home / "lafid.toml").write_text('[engine]\nengine = "nosuch"\n')
    with pytest.raises(EngineUnknown):
        machine.models(node)


def test_on_a_cluster_an_engine_that_each_node_chooses_by_itself_is_odd(node: Node) -> None:
    with pytest.raises(Remark, match='"auto" comes to dlib here .*write engine = "dlib" below'):
        machine.models(_in_cluster(node))


@pytest.mark.parametrize(("free", "error"), [(0.5e9, OSError), (5e9, Remark)])
def test_a_disk_that_is_full_blocks_and_one_that_fills_warns(
    node: Node, monkeypatch: pytest.MonkeyPatch, free: float, error: type[Exception]
) -> None:
    def frees(space: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1e12, 1e12 - space, space))

    frees(21e9)
    assert machine.home(node).startswith("21.0 GB are free for the home")
    frees(free)
    with pytest.raises(error, match=rf"only {free / 1e9:.1f} GB are free for the home .*LAFID_HOME"):
        machine.home(node)
    assert not node.settings.home.exists()


def test_a_clusters_node_needs_room_for_clips_from_s3(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1e12, 0, 50e9))
    assert machine.home(node).startswith("50.0 GB are free")
    with pytest.raises(
        Remark, match=r"only 50.0 GB are free .*where clips from S3 may take 100: free some space, or lower scratch_gb"
    ):
        machine.home(_in_cluster(node))


def test_a_gpu_is_asked_for_where_there_is_one_or_the_launch_file_wants_one(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(machine, "DRIVER", tmp_path / "version")
    assert machine.gpu(node) is None
    monkeypatch.setenv("LAFID_LAUNCH", str(PROJECT_ROOT / "deploy" / "launch.kubernetes.toml"))
    assert machine.launch(node) == f"{PROJECT_ROOT}/deploy/launch.kubernetes.toml fits"
    with pytest.raises(Remark, match="no GPU is here, and the launch file asks for one"):
        machine.gpu(node)
    (tmp_path / "version").write_text("NVRM version: 470\nmore\n")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match=r"there is a GPU driver \(NVRM version: 470\), but torch .* reaches no GPU: update"):
        machine.gpu(node)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "H200")
    with pytest.raises(Remark, match="H200, but onnxruntime is the build for CPUs"):
        machine.gpu(node)
    (tmp_path / "launch.toml").write_text("grace_s = -1")
    monkeypatch.setenv("LAFID_LAUNCH", str(tmp_path / "launch.toml"))
    with pytest.raises(LaunchUnusable):
        machine.launch(node)


def test_the_gpu_build_of_onnxruntime_is_compared_with_its_own_lock(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.31.1")
    assert machine.installed(node).endswith("/locks/cuda.txt")

    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", absent)
    assert machine.installed(node).endswith("/locks/all.txt")
