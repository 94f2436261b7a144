"""Dagster's webserver, as a command asks it for runs.

Belongs here: its address, one run asked for. Not here: which runs, and what becomes of them (`cluster`).
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit

import requests
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster_graphql import DagsterGraphQLClient, DagsterGraphQLClientError
from requests.auth import HTTPBasicAuth

from resources.secrets import without_password
from resources.transient_errors import chain

ADDRESS = "LAFID_DAGSTER_URL"
LOCATION, REPOSITORY = "lafid", "__repository__"
"""The code's name in workspace.yaml and in Dagster."""
ANSWER_S = 120


class WebserverUnusable(OSError):
    """Dagster's webserver does not answer, or takes no run; the message names its address and the remedy."""


class Webserver:
    """The webserver of the cluster's Dagster.

    Args:
        url: `http://host:3000`, where a proxy asks who comes with user and password; shown without them.

    Raises:
        WebserverUnusable: it is no address.
    """

    def __init__(self, url: str) -> None:
        self.shown = without_password(url).rstrip("/")
        try:
            address, port = urlsplit(url), urlsplit(url).port
        except ValueError:
            address, port = urlsplit(""), None
        if address.scheme not in ("http", "https") or not address.hostname:
            raise WebserverUnusable(f"{ADDRESS} is {self.shown}: give the address of Dagster's webserver, as http://HOST:3000")
        self._client = DagsterGraphQLClient(
            address.hostname,
            port_number=port,
            use_https=address.scheme == "https",
            path_prefix=address.path.rstrip("/"),
            timeout=ANSWER_S,
            auth=HTTPBasicAuth(unquote(address.username), unquote(address.password or "")) if address.username else None,
        )

    @classmethod
    def from_environment(cls) -> Self:
        """
        Raises:
            WebserverUnusable: no address is set, or it is none.
        """
        if not (url := os.environ.get(ADDRESS)):
            raise WebserverUnusable(
                f"LAFID_DAGSTER_YAML names a cluster and {ADDRESS} is not set: set it to the address of its webserver, as "
                "http://HOST:3000"
            )
        return cls(url)

    def ask(self, assets: Sequence[str], ops: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        """Put one run of these assets into the queue.

        Args:
            ops: as Dagster's run config; may name other assets, too, whose lines the run is told alike.

        Returns:
            the run's id.

        Raises:
            WebserverUnusable: it does not answer, or refuses.
        """
        try:
            return self._client.submit_job_execution(
                IMPLICIT_ASSET_JOB_NAME, LOCATION, REPOSITORY, run_config={"ops": ops}, tags=dict(tags), asset_selection=assets
            )
        except DagsterGraphQLClientError as error:
            if any(isinstance(cause, requests.ConnectionError | requests.Timeout) for cause in chain(error)):
                raise WebserverUnusable(
                    f"Dagster's webserver at {self.shown} does not answer: start it, or set {ADDRESS} to where it is"
                ) from error
            said = " ".join(f"{' '.join(map(str, error.args))} {error.body or ''}".split())
            raise WebserverUnusable(
                f"Dagster's webserver at {self.shown} takes no run ({said[:300]}): see whether it has loaded the code location "
                f"{LOCATION!r} of this version"
            ) from error

    def page(self, run_id: str) -> str:
        """Address of a run's page."""
        return f"{self.shown}/runs/{run_id}"

    def listing(self, tag: str, value: str) -> str:
        """Address of the list of runs with a tag."""
        return f"{self.shown}/runs?q[0]={quote(f'tag:{tag}={value}', safe='')}"
