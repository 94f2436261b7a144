"""Where things live: the addresses of a LaFID installation, read from the environment once.

Belongs here: addresses derived from `LAFID_HOME`, `LAFID_STORE` and `LAFID_CATALOG`. Not here: thresholds, engines, credentials.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from model.model_store.location import lafid_home, models_folder
from model.strict import StrictModel
from resources.secrets import has_password, without_password
from resources.store.s3_objects import is_address

PROJECT_ROOT = Path(__file__).resolve().parent.parent
_PASSWORD_LINES = {"password", "secret_key", "secret", "token", "sas_token", "api_token"}


class HomeUnusable(OSError):
    """The home directory cannot be written; the message names it and the remedy."""


class DagsterYamlUnusable(ValueError):
    """The instance's file is no YAML, or holds a password; the message names it and the remedy."""


class PasswordInAddress(ValueError):
    """An address that is shown and kept in many places holds a password; the message names the variable and the remedy."""


class Settings(StrictModel):
    """The local home (Dagster's instance, MLflow, logs), the store (tables, crops, latents) and the catalog of its tables.

    Attributes:
        catalog_address: `postgresql://...`; None: a file in the store.
    """

    home: Path
    store_uri: str
    catalog_address: str | None = None

    @classmethod
    def from_environment(cls) -> "Settings":
        """Read `LAFID_HOME` (default `.lafid/` in the checkout), `LAFID_STORE` (default `<home>/store`; a path or `s3://`) and
        `LAFID_CATALOG`."""
        home = lafid_home()
        return cls(
            home=home,
            store_uri=os.environ.get("LAFID_STORE") or str(home / "store"),
            catalog_address=os.environ.get("LAFID_CATALOG") or None,
        )

    @property
    def published_path(self) -> Path:
        """The plain DuckDB file of the decision and dataset tables, for any DuckDB."""
        return self.home / "lafid.duckdb"

    @property
    def dagster_home(self) -> Path:
        """Dagster's instance directory."""
        return self.home / "dagster"

    @property
    def has_instance(self) -> bool:
        """Whether a command or a run has made Dagster's instance."""
        return (self.dagster_home / "dagster.yaml").is_file()

    @property
    def mlflow_uri(self) -> str:
        """MLflow's tracking store.

        Raises:
            PasswordInAddress: it holds one, which runs, jobs and messages would show.
        """
        named = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home / 'mlflow' / 'mlflow.db'}"
        if has_password(named):
            raise PasswordInAddress(
                f"MLFLOW_TRACKING_URI is {without_password(named)}: take the password out of it, and set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD (of a database PGPASSWORD)"
            )
        return named

    @property
    def mlflow_artifacts(self) -> Path:
        """Where MLflow keeps artifacts when the tracking store is the local one."""
        return self.home / "mlflow" / "artifacts"

    @property
    def drop(self) -> Path | str:
        """What the clip-drop sensor watches: a folder, or `s3://bucket/prefix`."""
        named = os.environ.get("LAFID_DROP") or str(self.home / "drop")
        return named if is_address(named) else Path(named).expanduser()

    @property
    def models(self) -> Path:
        """The model store: third-party weights, `LAFID_MODELS` or `<home>/models`."""
        return models_folder(self.home)

    @property
    def downloads(self) -> Path:
        """Models that were fetched from a registry on a server; whoever wants one fetches it again."""
        return self.home / "downloads"

    @property
    def scratch(self) -> Path:
        """Clips of S3 while this machine needs them; whoever wants one fetches it again."""
        return self.home / "scratch"

    @property
    def logs(self) -> Path:
        """Where long-running commands write their logs."""
        return self.home / "logs"

    def prepare(self) -> None:
        """Make the home's directories and point Dagster at its instance.

        Raises:
            HomeUnusable: a directory cannot be made or written.
            FileNotFoundError: `LAFID_DAGSTER_YAML` names no file.
            DagsterYamlUnusable: it is no YAML, or holds a password, which Dagster's page of the configuration would show.
        """
        source = Path(os.environ.get("LAFID_DAGSTER_YAML") or PROJECT_ROOT / "dagster.yaml")
        if not source.is_file():
            raise FileNotFoundError(f"there is no {source}: set LAFID_DAGSTER_YAML to a dagster.yaml")
        _check_dagster_yaml(source)
        try:
            for folder in (self.dagster_home, self.mlflow_artifacts, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.home / f".writable-{os.getpid()}"
            probe.write_bytes(b"lafid")
            probe.unlink()
            self._install_dagster_yaml(source)
        except OSError as error:
            raise HomeUnusable(
                f"cannot write to the home {self.home} ({error.strerror or error}): "
                "free some space, or set LAFID_HOME to a directory that can be written"
            ) from error
        os.environ["LAFID_HOME"] = str(self.home)
        os.environ["DAGSTER_HOME"] = str(self.dagster_home)

    def _install_dagster_yaml(self, source: Path) -> None:
        """Keep the instance's `dagster.yaml` equal to `source`."""
        target = self.dagster_home / "dagster.yaml"
        content = source.read_bytes()
        if not target.is_file() or target.read_bytes() != content:
            temporary = target.with_suffix(f".{os.getpid()}.tmp")
            temporary.write_bytes(content)
            temporary.replace(target)


def _check_dagster_yaml(source: Path) -> None:
    try:
        told = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DagsterYamlUnusable(f"{source} is no YAML ({' '.join(str(error).split())}): mend it") from None
    if not isinstance(told, dict):
        raise DagsterYamlUnusable(f"{source} holds no settings of Dagster: begin with a copy of {PROJECT_ROOT}/dagster.yaml")
    if (line := next(_passwords(told), None)) is not None:
        raise DagsterYamlUnusable(
            f"{source} holds a password at {line}, which Dagster's UI would show: name an environment variable there, as "
            f"`{line.rpartition('.')[2]}: {{env: NAME}}`"
        )


def _passwords(told: Any, line: str = "") -> Iterator[str]:
    """The lines of a file that hold one; a name of an environment variable stands below `env` and is none."""
    if isinstance(told, dict):
        for name, value in told.items():
            if str(name).lower() in _PASSWORD_LINES and isinstance(value, str | int):
                yield f"{line}{name}"
            else:
                yield from _passwords(value, f"{line}{name}.")
    elif isinstance(told, str) and has_password(told):
        yield line.rstrip(".")
