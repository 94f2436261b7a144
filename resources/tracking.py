"""MLflow: where models are registered and pulled from. Imported only while it is used: it costs seconds.

Belongs here: the registry's address, the few questions that we ask of it, and a local store in a home that was moved. Not here:
packaging a checkpoint (`model.release.package`).
"""

import logging
import os
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.release import ADDRESS

EXPERIMENT = "lafid"
CHECKPOINT_TAG = "lafid.checkpoint_sha256"
DATASET_TAG = "lafid.dataset_version"
CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
"""Aliases: the version that was registered last and is not champion, the one that all use, the one that it took the place of."""
STEP_TAG = "lafid.step"
AVERAGED_TAG = "lafid.averaged"
ANSWER_S = 8.0
"""Within which a server must answer. MLflow itself would ask again for many minutes."""
_SQLITE = "sqlite:///"


class TrackingUnreachable(ConnectionError):
    """MLflow's server does not answer; the message names it and the remedy."""


class VersionUnknown(LookupError):
    """The registry has no such version; the message names what was asked for and the remedy."""


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry."""

    name: str
    version: str

    @property
    def uri(self) -> str:
        """What to pull."""
        return f"models:/{self.name}/{self.version}"


@dataclass(frozen=True)
class Tracking:
    """An MLflow tracking store and registry.

    Attributes:
        uri: `sqlite:///...` on one machine, `http://...` for a team.
        artifacts: where the local store keeps artifacts; a server decides for itself.
    """

    uri: str
    artifacts: Path

    @property
    def is_there(self) -> bool:
        """Whether the local store has been made; of a server it is taken for granted."""
        return self._database is None or self._database.is_file()

    @property
    def is_local(self) -> bool:
        """Whether models lie on this disk, where `artifacts` is."""
        return self._database is not None

    @property
    def _database(self) -> Path | None:
        """The file of a local store; None: a server keeps it."""
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    def connect(self) -> Any:
        """MLflow's client, for questions and for changes to what is there: nothing is made on a team's server.

        A local store whose home was moved is told where it is now.

        Raises:
            TrackingUnreachable: the server does not answer.
        """
        if self._database is not None:
            follow_moved_home(self._database, self.artifacts, EXPERIMENT)
        elif self.uri.startswith(("http://", "https://")):
            _see_that_it_answers(self.uri)
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
        import mlflow

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # every new database tells of its migrations
        mlflow.set_tracking_uri(self.uri)
        return mlflow.MlflowClient()

    def open_experiment(self) -> Any:
        """The same for who logs runs and models: the experiment is made on first use, and is MLflow's active one.

        Raises:
            TrackingUnreachable: the server does not answer.
        """
        client = self.connect()
        if client.get_experiment_by_name(EXPERIMENT) is None:
            location = None if self._database is None else self.artifacts.as_uri()
            client.create_experiment(EXPERIMENT, artifact_location=location)
        import mlflow

        mlflow.set_experiment(EXPERIMENT)
        return client

    def find_version(self, name: str, checkpoint_sha256: str) -> RegisteredVersion | None:
        """The version that holds this checkpoint, if there is one."""
        found = self.connect().search_model_versions(f"name = '{name}'")
        tagged = [v for v in found if self.tags_of(v).get(CHECKPOINT_TAG) == checkpoint_sha256]
        return RegisteredVersion(name, str(max(tagged, key=lambda v: int(v.version)).version)) if tagged else None

    def find_logged_model(self, checkpoint_sha256: str) -> str | None:
        """Id of the LoggedModel that a training made of this checkpoint, if there is one."""
        found = self._logged_models(f"tags.`{CHECKPOINT_TAG}` = '{checkpoint_sha256}'")
        return next((str(model.model_id) for model in found if model.status == "READY"), None)

    def tagged_models(self, tag: str, value: str) -> list[str]:
        """Ids of the LoggedModels whose tag has this value, registered or not, whole or left unfinished by a kill."""
        return [str(model.model_id) for model in self._logged_models(f"tags.`{tag}` = '{value}'")]

    def logged_checkpoints(self, run_id: str) -> dict[str, tuple[int, bool] | None]:
        """Id of every LoggedModel of a training's run to its step and whether it is of the moving average; None where a kill left
        it unfinished."""
        found = self._logged_models(f"source_run_id = '{run_id}'")
        return {
            model.model_id: (int(model.tags[STEP_TAG]), model.tags[AVERAGED_TAG] == "True") if model.status == "READY" else None
            for model in found
        }

    def is_registered(self, model_id: str) -> bool:
        """Whether a version in the registry is this LoggedModel."""
        return any(version.source == f"models:/{model_id}" for version in self.connect().search_model_versions())

    def registered_model(self, name: str) -> Any:
        """The model of that name, with its aliases and tags; None: there is none."""
        return _there(lambda: self.connect().get_registered_model(name))

    def tags_of(self, version: Any) -> dict[str, str]:
        """What a registered version says of itself, or its LoggedModel: who registers one in MLflow's UI gives it no tags."""
        own = dict(version.tags)
        named = ADDRESS.fullmatch(version.source or "")
        if CHECKPOINT_TAG in own or named is None or not named["logged"]:
            return own
        logged = _there(lambda: self.connect().get_logged_model(named["logged"]))
        return own if logged is None else dict(logged.tags) | own

    def resolve(self, address: str) -> Any:
        """The registered version that an address means: models:/lafid@champion, models:/lafid/3, or the LoggedModel models:/m-...

        Raises:
            VersionUnknown: there is none.
            TrackingUnreachable: the server does not answer.
        """
        if not self.is_there:
            raise VersionUnknown(f"there is no registry at {self.uri} yet: `lafid demo` makes one")
        client = self.connect()
        named = ADDRESS.fullmatch(address)
        if named is None:
            raise VersionUnknown(f"{address} names no registered version: say models:/lafid@champion, or models:/lafid/3")
        found = None
        if named["alias"]:
            found = _there(lambda: client.get_model_version_by_alias(named["name"], named["alias"]))
        elif named["version"]:
            found = _there(lambda: client.get_model_version(named["name"], named["version"]))
        elif named["logged"]:
            found = next((version for version in client.search_model_versions() if version.source == address), None)
        if found is None:
            raise VersionUnknown(f"{self.uri} has no {address}: {_known(client, named['name'])}")
        return found

    def curve(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """(step, value) of a metric in the order of steps; of a step that was trained twice, the later value."""
        history = sorted(self.connect().get_metric_history(run_id, metric), key=lambda point: (point.step, point.timestamp))
        return sorted({point.step: point.value for point in history}.items())

    def version_of_alias(self, name: str, alias: str) -> str | None:
        """The version that an alias points to; None when there is no such model or alias."""
        found = _there(lambda: self.connect().get_model_version_by_alias(name, alias))
        return None if found is None else str(found.version)

    def _logged_models(self, filter_string: str) -> list[Any]:
        client = self.connect()
        if (experiment := client.get_experiment_by_name(EXPERIMENT)) is None:
            return []
        experiments = [experiment.experiment_id]
        page = client.search_logged_models(experiments, filter_string)
        found = list(page)
        while page.token:
            page = client.search_logged_models(experiments, filter_string, page_token=page.token)
            found += page
        return found


def _there(ask: Callable[[], Any]) -> Any:
    """What the registry answers; None where it has no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _known(client: Any, name: str | None) -> str:
    """What there is to be named instead."""
    model = None if name is None else _there(lambda: client.get_registered_model(name))
    if model is None:
        names = sorted(each.name for each in client.search_registered_models())
        return f"its models are {', '.join(names)}" if names else "nothing is registered there yet"
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{name}'"))
    aliases = ", ".join(f"{alias} of {version}" for alias, version in sorted(model.aliases.items())) or "none"
    return f"versions of {name} are {', '.join(map(str, versions)) or 'none'}, aliases {aliases}"


def _see_that_it_answers(uri: str) -> None:
    """Whatever it says, even that it wants a password, is an answer."""
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=ANSWER_S):
            return
    except urllib.error.HTTPError:
        return
    except OSError as error:
        raise TrackingUnreachable(
            f"MLflow at {uri} does not answer within {ANSWER_S:.0f} s ({getattr(error, 'reason', None) or error}): "
            "start the server, or set MLFLOW_TRACKING_URI to where it is"
        ) from error


LOGGER = logging.getLogger("lafid.tracking")
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow 3 that hold where files lie."""


def follow_moved_home(database: Path, artifacts: Path, experiment: str) -> bool:
    """Makes every address below the experiment's recorded folder one below `artifacts`, where that lies beside the database.

    A database and a folder that are configured apart do not move together, and stay as they are.

    Returns:
        Whether anything was changed.
    """
    if database.parent != artifacts.parent or not database.is_file():
        return False
    now = artifacts.as_uri()
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        recorded = _recorded(connection, experiment)
        if recorded in (None, now):
            return False
        connection.execute("BEGIN IMMEDIATE")
        recorded = _recorded(connection, experiment)
        if recorded in (None, now):
            connection.execute("ROLLBACK")
            return False
        for table, column in _ADDRESSES:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                (now, len(recorded) + 1, recorded, len(recorded) + 1, f"{recorded}/"),
            )
        connection.execute("COMMIT")
    LOGGER.info("the home was moved: MLflow's addresses now begin with %s, no longer with %s", now, recorded)
    return True


def _recorded(connection: sqlite3.Connection, experiment: str) -> str | None:
    """Where the experiment's artifacts are said to lie; None before MLflow has made its tables, or the experiment."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone():
        return None
    row = connection.execute("SELECT artifact_location FROM experiments WHERE name = ?", (experiment,)).fetchone()
    return None if row is None else str(row[0])
