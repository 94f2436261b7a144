"""Checks of what all nodes share: store, catalog, Dagster, Ray, MLflow, and their clocks.

Belongs here: one question each, with an end to the wait. Not here: the machine itself (`machine`).
"""

import json
import os
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lafid_assets.doctor.findings import Node, Remark
from lafid_assets.runs.preflight import PLACE_TAG, SOFTWARE_TAG, NodeUnfit, differences, refuse_wrong_clock
from resources import postgres
from resources.lake.catalog import Catalog
from resources.lake.catalog_cluster import cluster_of, remembered, require_same
from resources.lake.ownership import join
from resources.secrets import without_password
from resources.software import place
from resources.store.file_store import FileStore
from resources.tracking import Tracking

ANSWER_S = 10.0
DAGSTER_URL, RAY_URL = "LAFID_DAGSTER_URL", "RAY_JOB_ADDRESS"
RAY_TOKEN, RAY_TOKEN_FILE = "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
"""Environment variables that Ray reads."""


class ServerUnusable(OSError):
    """A server does not answer, or is another one than it should be; the message names it and the remedy."""


def store(node: Node) -> str:
    """Whether the store takes files."""
    place = FileStore(node.settings.store_uri)
    if place.is_local and node.is_cluster:
        place.refuse_unwritable()
        raise Remark(f"the store {place.uri} is a folder: every node must have the same one there, by NFS or on this one machine")
    place.refuse_unwritable()
    return f"{place.uri} can be written"


def catalog(node: Node) -> str:
    """Whether the catalog answers, is the store's, and takes writes."""
    place, named = _catalog(node)
    there = join(named, place, node.settings.home, writing=False)
    if named.sqlite_path is None:
        postgres.refuse_unwritable(named.url)
    elif node.is_cluster:
        raise Remark(f"the catalog {named} serves one home: set LAFID_CATALOG=postgresql://user@host/database for several nodes")
    return f"{named} is the store's" if there else f"{named} is empty: the first `lafid curate` begins it"


def cluster(node: Node) -> str | None:
    """Whether the catalog is this cluster's."""
    if node.dagster_url is None:
        return None
    _, named = _catalog(node)
    there, ours = remembered(named), cluster_of(node.dagster_url)
    if there is None:
        return f"no cluster has worked on {named} yet"
    require_same(named, there, ours)
    return f"{named} is worked on by the cluster of {ours.address}"


def clock(node: Node) -> str | None:
    """This node's clock against those of the servers."""
    place, named = _catalog(node)
    found = {}
    if named.sqlite_path is None:
        found[f"the catalog {named}"] = postgres.facts(named.url).ahead_s
    if node.dagster_url is not None:
        found[f"Dagster's database {_shown(node.dagster_url)}"] = postgres.facts(node.dagster_url).ahead_s
    if not place.is_local:
        found[f"the store {place.uri}"] = _s3_ahead_s(place.uri)
    for whose, ahead_s in found.items():
        refuse_wrong_clock(ahead_s, whose)
    return f"within {max(map(abs, found.values())):.0f} s of {', '.join(found)}" if found else None


def records(node: Node) -> str | None:
    """Dagster's database: that it takes writes, and has this Dagster's tables."""
    if node.dagster_url is None:
        return None
    from alembic.script import ScriptDirectory
    from dagster_postgres import run_storage
    from dagster_postgres.utils import pg_alembic_config

    postgres.refuse_unwritable(node.dagster_url)
    address = _shown(node.dagster_url)
    if (revision := postgres.one_value(node.dagster_url, "SELECT version_num FROM alembic_version")) is None:
        raise Remark(f"{address} holds no tables of Dagster yet: its webserver or daemon makes them when it starts")
    head = ScriptDirectory.from_config(pg_alembic_config(run_storage.__file__)).get_current_head()
    if revision != head:
        raise ServerUnusable(
            f"the tables in {address} are of revision {revision}, and Dagster {version('dagster')} here wants {head}: install "
            "the same Dagster on every node, then run `dagster instance migrate` once, with no run at work"
        )
    return f"{address} can be written and has this Dagster's tables"


def same_software(node: Node) -> str | None:
    """Against what the cluster's last run was submitted with."""
    if node.dagster_url is None or not node.is_cluster:
        return None
    newest = "SELECT value FROM run_tags WHERE key = '{}' ORDER BY id DESC LIMIT 1"
    there = postgres.one_value(node.dagster_url, newest.format(SOFTWARE_TAG))
    if there is None:
        return "no run has been submitted yet that it could be compared with"
    if differing := differences(there):
        raise NodeUnfit(
            f"the cluster's last run was submitted with another LaFID ({'; '.join(differing)}): install the same checkout and "
            "lock on every node"
        )
    lies = postgres.one_value(node.dagster_url, newest.format(PLACE_TAG))
    if lies not in (None, place()):
        raise NodeUnfit(f"LaFID lies at {lies} in the cluster, and here at {place()}: put it at the same path on every node")
    return "the cluster's last run was submitted with the same"


def webserver(node: Node) -> str | None:
    """Dagster's webserver, to which `lafid curate` submits."""
    if (url := os.environ.get(DAGSTER_URL)) is None:
        if node.is_cluster:
            raise Remark(f"{DAGSTER_URL} is not set: `lafid curate` on this node has nobody to submit to")
        return None
    url, headers = _without_login(url)
    there = _answer(f"{url}/server_info", DAGSTER_URL, headers)["dagster_version"]
    if there != version("dagster"):
        raise ServerUnusable(f"Dagster at {url} is {there}, and {version('dagster')} here: install the same lock on both")
    return f"{url} answers, Dagster {there}"


def ray(node: Node) -> str | None:
    """The head of the Ray cluster."""
    if (url := os.environ.get(RAY_URL)) is None:
        if node.is_cluster:
            raise Remark(f"{RAY_URL} is not set: Dagster's daemon needs it to start runs")
        return None
    token = _ray_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    there = _answer(f"{url.rstrip('/')}/api/version", RAY_URL, headers)["ray_version"]
    if there != version("ray"):
        raise ServerUnusable(f"Ray at {url} is {there}, and {version('ray')} here: install the same lock on every node")
    if not token:
        raise Remark(f"{url} answers, and so it does to anybody who reaches it: set RAY_AUTH_MODE=token and {RAY_TOKEN_FILE}")
    return f"{url} answers, Ray {there}"


def mlflow(node: Node) -> str | None:
    """MLflow's server; a local registry is made by whoever first needs it."""
    tracking = Tracking(node.settings.mlflow_uri, node.settings.mlflow_artifacts)
    if tracking.is_local:
        if node.is_cluster:
            raise Remark("MLFLOW_TRACKING_URI is not set: what this node registers stays in its home, where no other finds it")
        return None
    tracking.connect()
    return f"{tracking.uri} answers"


def _ray_token() -> str | None:
    """
    Raises:
        OSError: the file that the environment names cannot be read.
    """
    file = os.environ.get(RAY_TOKEN_FILE)
    return os.environ.get(RAY_TOKEN) or (Path(file).read_text().strip() if file else None)


def _catalog(node: Node) -> tuple[FileStore, Catalog]:
    place = FileStore(node.settings.store_uri)
    return place, Catalog.of(place, node.settings.catalog_address)


def _shown(url: str) -> str:
    return without_password(url).replace("+psycopg2", "")


def _without_login(url: str) -> tuple[str, dict[str, str]]:
    """An address that may be shown, and the header that lets one in where it named user and password."""
    parts = urlsplit(url.rstrip("/"))
    if parts.username is None:
        return parts.geturl(), {}
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    return address, {"Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _answer(url: str, variable: str, headers: Mapping[str, str]) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=dict(headers)), timeout=ANSWER_S) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        is_ray = variable == RAY_URL and error.code in (401, 403)
        who = f"; {RAY_TOKEN_FILE} names the file with the token that the head began with" if is_ray else ""
        raise ServerUnusable(f"{url} answers {error.code} {error.reason}: correct {variable}{who}") from error
    except (OSError, ValueError) as error:
        said = getattr(error, "reason", None) or error
        raise ServerUnusable(f"{url} does not answer ({said}): start the server, or correct {variable}") from error


def _s3_ahead_s(uri: str) -> float:
    """How far this machine's clock is before S3's; S3 says its time also when it refuses."""
    import boto3
    from botocore.exceptions import ClientError

    bucket = uri.removeprefix("s3://").partition("/")[0]
    before = time.time()
    try:
        answer = boto3.client("s3").head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    there = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
    return (before + time.time()) / 2 - there
