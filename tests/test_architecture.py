"""Walls that hold the house: imports point one way, definitions stay light, files stay small and say what they are."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("model", "resources", "lafid_assets", "sensors")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
HEAVY = (
    "torch",
    "diffusers",
    "mlflow",
    "insightface",
    "cv2",
    "sixdrepnet",
    "faster_whisper",
    "transformers",
    "dlib",
    "openai",
    "scipy",
)
MOST_LINES = 400

# Modules that are Dagster's by what they do; every other module of lafid_assets without an asset is a kernel.
ASSEMBLY = {
    "lafid_assets/steps/step.py",
    "lafid_assets/steps/step_run.py",
    "lafid_assets/runs/run_failure.py",
    "lafid_assets/runs/run_settings.py",
    "lafid_assets/steps/partitions.py",
    "lafid_assets/jobs.py",
    "lafid_assets/definitions.py",
    "lafid_assets/release/draw_evaluation.py",
    "lafid_assets/checks/dataset_checks.py",
    "lafid_assets/runs/instance.py",
    "lafid_assets/runs/ray_launcher.py",
    "lafid_assets/cli/cluster.py",
    "lafid_assets/cli/materialize.py",
    "lafid_assets/cli/status.py",
    "lafid_assets/cli/webserver.py",
}


def _imports(path: Path) -> Iterator[str]:
    """First names of all absolute imports, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield (node.module or "").split(".")[0]


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _has_asset(path: Path) -> bool:
    return any(
        "asset" in ast.unparse(decorator)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
    )


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("model", {"resources", "lafid_assets", "sensors", "dagster", "dagster_pipes", "dagster_aws"}),
        ("resources", {"lafid_assets", "sensors", "dagster_aws"}),
        ("lafid_assets", {"dagster_pipes"}),
        ("sensors", {"dagster_pipes", "torch", "diffusers"}),
    ],
)
def test_imports_point_one_way(package: str, forbidden: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not forbidden & set(_imports(path)), _name(path)


def test_only_three_modules_of_the_resources_know_dagster_or_its_pipes() -> None:
    """Its storage, and the two ends of a training; a trainer that imported Dagster would start a second later on every rank."""

    def knowing(name: str) -> set[str]:
        return {_name(path) for path in (ROOT / "resources").rglob("*.py") if name in set(_imports(path))}

    assert knowing("dagster") == {"resources/dagster_storage.py", "resources/trainer/client.py"}
    assert knowing("dagster_pipes") == {"resources/trainer/child.py"}


def test_in_the_model_half_the_packaging_alone_knows_mlflow() -> None:
    knowing = {_name(path) for path in (ROOT / "model").rglob("*.py") if "mlflow" in set(_imports(path))}
    assert knowing == {"model/release/package.py", "model/release/pyfunc_model.py"}


def test_only_the_assembly_knows_the_sensors() -> None:
    knowing = {_name(path) for path in (ROOT / "lafid_assets").rglob("*.py") if "sensors" in set(_imports(path))}
    assert knowing == {"lafid_assets/definitions.py"}


def test_kernels_do_not_know_dagster() -> None:
    kernels = [path for path in (ROOT / "lafid_assets").rglob("*.py") if not _has_asset(path) and _name(path) not in ASSEMBLY]
    assert len(kernels) > 40
    for path in kernels:
        assert "dagster" not in set(_imports(path)), _name(path)
    for name in ASSEMBLY:
        assert "dagster" in set(_imports(ROOT / name)), f"{name} needs no exception"


@pytest.mark.parametrize("module", ["lafid_assets.definitions", "lafid_assets.cli.main"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & sys.modules.keys()))".replace(repr(HEAVY), repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_the_command_line_starts_without_dagster() -> None:
    modules = ", ".join(f"lafid_assets.cli.{name}" for name in ("main", "funnel", "generate"))
    code = f"import sys, {modules}; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_there_are_sources() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in SOURCES} == set(PACKAGES)


def test_every_module_is_small_and_says_what_it_is() -> None:
    """An empty `__init__.py` counts as a module, too: it is the first thing that a reader of the package opens."""
    texts = {_name(path): path.read_text() for path in SOURCES}
    assert [name for name, text in texts.items() if len(text.splitlines()) >= MOST_LINES] == []
    assert [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))] == []


def test_every_asset_lies_in_a_module_of_its_name() -> None:
    for path in (ROOT / "lafid_assets").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(d).startswith("dg.asset(") for d in node.decorator_list):
                assert path.stem == node.name


def test_nobody_pickles_but_the_reader_that_refuses_all_but_arrays() -> None:
    pickling = {_name(path) for path in SOURCES if {"pickle", "joblib", "dill"} & set(_imports(path))}
    assert pickling == {"model/face_engine/fit_landmark_pose.py"}
    assert not any("weights_only=False" in path.read_text() for path in SOURCES)
