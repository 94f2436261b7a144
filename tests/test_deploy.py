"""The files of deploy/ as configuration: whatever they name is there. No container is built or started."""

import re
import tomllib
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from resources.settings import PROJECT_ROOT

DEPLOY = PROJECT_ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ENVIRONMENT: dict[str, str] = COMPOSE["x-environment"]
EXAMPLE = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "env.example").read_text(), re.MULTILINE))
SECRETS = {"POSTGRES_PASSWORD", "S3_SECRET_KEY", "RAY_AUTH_TOKEN"}
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
OF_OTHERS = {"postgres", "server"}
"""Programs of images that are not ours."""
COMMANDS = {
    "dagster-daemon": ("dagster._daemon.cli", "cli"),
    "dagster-webserver": ("dagster_webserver.cli", "dagster_webserver"),
    "mlflow": ("mlflow.cli", "cli"),
    "ray": ("ray.scripts.scripts", "cli"),
}


def _filled(value: str) -> str:
    """As compose fills it in, with words for secrets."""
    told = EXAMPLE | dict.fromkeys(SECRETS, "secret")
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda found: told[found[1]], value)


def _commands() -> list[tuple[str, list[str]]]:
    found = [(name, [_filled(word) for word in service["command"]]) for name, service in SERVICES.items() if "command" in service]
    tests = [(name, service["healthcheck"]["test"][1:]) for name, service in SERVICES.items() if "healthcheck" in service]
    return [(name, words) for name, words in found + tests if words[0] in COMMANDS]


def test_every_variable_has_its_line_in_the_example_and_no_secret_has_a_value() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert set(re.findall(r"\$\{(\w+)", text)) == set(EXAMPLE)
    assert {name for name, value in EXAMPLE.items() if not value} == SECRETS
    for secret in SECRETS:
        assert re.search(rf"\$\{{{secret}:\?", text), f"{secret} that is left out is an error"


def test_an_address_names_a_service_the_port_it_listens_on_and_a_database_that_is_made() -> None:
    databases = {SERVICES["postgres"]["environment"]["POSTGRES_DB"]}
    databases |= set(re.findall(r"CREATE DATABASE (\w+)", (DEPLOY / "databases.sql").read_text()))
    named = ENVIRONMENT | SERVICES["mlflow"]["environment"]
    for url in (urlsplit(value) for value in named.values() if "://" in value and not value.startswith("s3:")):
        words = " ".join(map(str, SERVICES[str(url.hostname)].get("command", [])))
        if url.scheme.startswith("postgresql"):
            assert url.path.removeprefix("/") in databases
            assert url.password is None
        elif url.hostname != "s3":  # MinIO's own port
            assert re.search(rf"port[= ]{url.port}\b", words), url.geturl()


def test_every_variable_that_dagsters_file_reads_is_set() -> None:
    read = re.findall(r"^\s+env: (\w+)", (DEPLOY / "dagster.ray.yaml").read_text(), re.MULTILINE)
    assert read
    assert set(read) <= set(ENVIRONMENT)


def test_every_variable_of_ours_is_one_that_the_code_reads() -> None:
    code = "".join(
        path.read_text() for package in ("lafid_assets", "resources") for path in (PROJECT_ROOT / package).rglob("*.py")
    )
    for name in ENVIRONMENT:
        if name.startswith(("LAFID", "RAY", "MLFLOW")) and name != "LAFID_DAGSTER_DB":
            assert name in code, name


def test_what_is_mounted_is_there_and_volumes_are_declared() -> None:
    named = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source, _, target = mount.partition(":")
            if source.startswith("./"):
                assert (DEPLOY / source).is_file(), mount
                assert target.endswith(":ro")
            elif target:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_who_waits_for_a_healthy_service_waits_for_one_that_says_so() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            if how["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other], f"{name} waits for {other}"
            else:
                assert "restart" not in SERVICES[other], f"{other} ends"


def test_pages_are_for_this_machine_alone() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_head_runs_no_runs_and_asks_who_comes() -> None:
    assert {"--num-cpus=0", "--num-gpus=0"} <= set(SERVICES["head"]["command"])
    assert ENVIRONMENT["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize(("service", "words"), _commands(), ids=str)
def test_every_command_takes_its_options(service: str, words: list[str]) -> None:
    module, name = COMMANDS[words[0]]
    command, rest = getattr(import_module(module), name), words[1:]
    while hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_parser(command.make_context(words[0], [], resilient_parsing=True)).parse_args(list(rest))


def test_every_program_is_ours_or_anothers() -> None:
    first = {service["command"][0] for service in SERVICES.values() if "command" in service}
    assert first - OF_OTHERS - {"python"} <= set(COMMANDS)


def test_the_image_installs_the_locks_by_their_hashes_as_make_does() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text()
    for flags in (
        "-m pip install .*--require-hashes",
        "uv pip install .*--no-deps --require-hashes",
        "uv pip install .*--no-deps --editable .",
    ):
        for text in (makefile, CONTAINERFILE):
            assert re.search(flags, text.replace("\\\n", " ")), flags
    assert "://" not in CONTAINERFILE, "an address"
    for lock in ("all", "cuda", "bootstrap"):
        assert (PROJECT_ROOT / "locks" / f"{lock}.txt").is_file()
    [python] = re.findall(r"^FROM python:([\d.]+)-slim$", CONTAINERFILE, re.MULTILINE)
    assert python == "3.11", "that of `uv pip compile` in the Makefile"
    assert f"--python-version {python}" in makefile


def test_the_image_holds_the_code_and_no_secret() -> None:
    lines = [line for line in (PROJECT_ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]

    def taken(path: str) -> bool:
        kept = True
        for line in lines:
            pattern = line.removeprefix("!")
            if any(fnmatch(part, pattern) for part in (path, *map(str, Path(path).parents))):
                kept = line.startswith("!")
        return kept

    wheel = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for path in (
        *(f"{package}/__init__.py" for package in wheel),
        "locks/all.txt",
        "pyproject.toml",
        "README.md",
        "workspace.yaml",
    ):
        assert taken(path), path
    assert taken("dagster.yaml")
    assert taken("deploy/dagster.ray.yaml")
    for path in (
        "deploy/.env",
        ".env",
        ".lafid/store/catalog.sqlite",
        ".venv/bin/python",
        ".git/config",
        "model/__pycache__/x.pyc",
    ):
        assert not taken(path), path


def test_paths_are_those_of_the_image() -> None:
    [folder] = re.findall(r"^WORKDIR (.*)$", CONTAINERFILE, re.MULTILINE)
    assert ENVIRONMENT["LAFID_DAGSTER_YAML"] == f"{folder}/deploy/dagster.ray.yaml"
    home, dagster = (re.search(rf"{name}=(\S+)", CONTAINERFILE)[1] for name in ("LAFID_HOME", "DAGSTER_HOME"))  # type: ignore[index]
    assert dagster == f"{home}/dagster"
    assert SERVICES["daemon"]["volumes"] == [f"./dagster.ray.yaml:{dagster}/dagster.yaml:ro"]
    assert SERVICES["node"]["volumes"] == [home], "a home of its own"
