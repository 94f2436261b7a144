"""What the doctor asks of servers: a real Postgres and a local S3; stand-ins for those that only answer a version."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest

from lafid_assets.doctor import servers
from lafid_assets.doctor.findings import Node, Remark
from lafid_assets.doctor.servers import ServerUnusable
from lafid_assets.runs.preflight import PLACE_TAG, SOFTWARE_TAG, NodeUnfit, carried
from resources import postgres
from resources.lake.catalog import Catalog, CatalogUnusable
from resources.lake.catalog_cluster import claim, cluster_of
from resources.lake.lake import Lake
from resources.postgres import PostgresAway
from resources.settings import Settings
from resources.tracking import TrackingUnreachable

NOBODY = "http://127.0.0.1:9"
HOUR_S = 3600.0


@pytest.fixture
def node(settings: Settings) -> Node:
    """One machine."""
    return Node(settings, None, is_cluster=False)


@pytest.fixture
def of_cluster(settings: Settings, postgres_url: str, bucket: str) -> Node:
    """A node whose catalog and Dagster lie in one Postgres, and its store on S3."""
    told = settings.model_copy(update={"store_uri": f"s3://{bucket}/lafid", "catalog_address": postgres_url})
    return Node(told, postgres_url.replace("postgresql:", "postgresql+psycopg2:"), is_cluster=True)


@pytest.fixture
def answers() -> Iterator[Callable[[dict[str, str]], str]]:
    """Address of a server that gives everybody who bears the token the same object."""
    running = []

    def serve(found: dict[str, str], token: str = "") -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = not token or self.headers["Authorization"] in (token, f"Bearer {token}")
                self.send_response(200 if allowed else 401)
                self.end_headers()
                self.wfile.write(json.dumps(found).encode())

            def log_message(self, *_: object) -> None:
                """Nothing on the screen."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in running:
        server.shutdown()
        server.server_close()


def test_one_machine_needs_no_server(node: Node) -> None:
    asked = (
        servers.cluster,
        servers.clock,
        servers.records,
        servers.same_software,
        servers.webserver,
        servers.ray,
        servers.mlflow,
    )
    assert [check(node) for check in asked] == [None] * len(asked)
    assert "is empty: the first `lafid curate` begins it" in servers.catalog(node)
    assert servers.store(node) == f"{node.settings.store_uri} can be written"
    assert not node.settings.home.exists(), "nothing is made by asking"


def test_a_lake_that_is_there_is_the_stores(node: Node, lake: Lake) -> None:
    assert servers.catalog(node).endswith("is the store's")


def test_what_one_machine_may_have_is_odd_on_a_cluster(node: Node) -> None:
    of_cluster = Node(node.settings, None, is_cluster=True)
    for check, remark in (
        (servers.store, "is a folder: every node must have the same one there"),
        (servers.catalog, "serves one home: set LAFID_CATALOG=postgresql://"),
        (servers.webserver, "LAFID_DAGSTER_URL is not set: `lafid curate` on this node has nobody to submit to"),
        (servers.ray, "RAY_JOB_ADDRESS is not set"),
        (servers.mlflow, "MLFLOW_TRACKING_URI is not set"),
    ):
        with pytest.raises(Remark, match=remark):
            check(of_cluster)


def test_a_whole_cluster_is_well(of_cluster: Node) -> None:
    assert servers.store(of_cluster) == f"{of_cluster.settings.store_uri} can be written"
    assert "is empty: the first" in servers.catalog(of_cluster)
    assert servers.cluster(of_cluster).startswith("no cluster has worked on")
    assert servers.clock(of_cluster).startswith("within ")
    with pytest.raises(Remark, match="holds no tables of Dagster yet: its webserver or daemon makes them"):
        servers.records(of_cluster)
    assert servers.same_software(of_cluster) == "no run has been submitted yet that it could be compared with"
    assert (
        postgres.one_value(of_cluster.settings.catalog_address, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        == "0"
    )


@pytest.mark.parametrize("whose", ["the catalog", "Dagster's database", "the store s3://"])
def test_a_clock_an_hour_off_blocks(of_cluster: Node, monkeypatch: pytest.MonkeyPatch, whose: str) -> None:
    real = postgres.facts
    if whose.startswith("the store"):
        monkeypatch.setattr(servers, "parsedate_to_datetime", lambda text: _Date(servers.time.time() + HOUR_S))
    else:
        wrong = (of_cluster.dagster_url if whose.startswith("Dagster") else of_cluster.settings.catalog_address) or ""
        monkeypatch.setattr(postgres, "facts", lambda url: postgres.Facts("x", -HOUR_S) if url == wrong else real(url))
    with pytest.raises(NodeUnfit, match=rf"this node's clock is 3[56]\d\d s behind that of {whose}"):
        servers.clock(of_cluster)


class _Date(float):
    def timestamp(self) -> float:
        return self


def test_another_cluster_on_the_catalog_blocks(of_cluster: Node) -> None:
    catalog = Catalog(str(of_cluster.settings.catalog_address))
    claim(catalog, cluster_of(str(of_cluster.dagster_url)))
    assert "is worked on by the cluster of postgresql://lafid@" in str(servers.cluster(of_cluster))
    with catalog.opened(writing=True) as cursor:
        cursor.execute("UPDATE lafid_cluster SET identity = 'another'")
    with pytest.raises(CatalogUnusable, match="give this one a catalog and a store of its own"):
        servers.cluster(of_cluster)


@pytest.fixture
def with_tables(of_cluster: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance on the node's Postgres."""
    told = f"storage:\n  postgres:\n    postgres_url: {of_cluster.dagster_url}\n"
    (tmp_path / "dagster.yaml").write_text(told)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_dagsters_tables_and_the_software_of_the_last_run_are_compared(
    of_cluster: Node, with_tables: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.job
    def empty() -> None:
        """Nothing."""

    assert servers.records(of_cluster).endswith("has this Dagster's tables")
    with_tables.create_run_for_job(empty, tags={SOFTWARE_TAG: "lafid 0.0.1", PLACE_TAG: "elsewhere"})
    with pytest.raises(NodeUnfit, match=r"was submitted with another LaFID \(lafid 0.0.1 there, lafid "):
        servers.same_software(of_cluster)
    with_tables.create_run_for_job(empty, tags=carried() | {PLACE_TAG: "/opt/lafid with /opt/lafid/.venv/bin/python"})
    with pytest.raises(NodeUnfit, match="LaFID lies at /opt/lafid with .* in the cluster, and here at .*same path on every node"):
        servers.same_software(of_cluster)
    with_tables.create_run_for_job(empty, tags=carried())
    assert servers.same_software(of_cluster) == "the cluster's last run was submitted with the same"
    monkeypatch.setattr(postgres, "one_value", lambda *_: "0a1b2c")
    with pytest.raises(ServerUnusable, match="are of revision 0a1b2c, and Dagster .*then run `dagster instance migrate` once"):
        servers.records(of_cluster)


def test_a_store_and_databases_that_are_away_are_named(of_cluster: Node, settings: Settings) -> None:
    away = "postgresql://me:geheim-wort@127.0.0.1:9/x"
    node = Node(settings.model_copy(update={"catalog_address": away}), away, is_cluster=True)
    for check in (servers.records, servers.clock):
        with pytest.raises(PostgresAway, match=r"the database postgresql://me:\*\*\*@127.0.0.1:9/x does not answer"):
            check(node)
    with pytest.raises(CatalogUnusable, match=r"the catalog postgresql://me:\*\*\*@127.0.0.1:9/x does not answer"):
        servers.catalog(node)


@pytest.mark.parametrize(
    ("check", "variable", "field", "package"),
    [
        (servers.webserver, "LAFID_DAGSTER_URL", "dagster_version", "dagster"),
        (servers.ray, "RAY_JOB_ADDRESS", "ray_version", "ray"),
    ],
)
def test_a_server_of_another_version_blocks_and_so_does_one_that_is_away(
    node: Node,
    answers: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    check: Callable[[Node], str | None],
    variable: str,
    field: str,
    package: str,
) -> None:
    (tmp_path / "token").write_text("let-me-in\n")
    if check is servers.ray:
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv(variable, answers({field: version(package)}))
    assert "answers" in str(check(node))
    monkeypatch.setenv(variable, answers({field: "0.1"}))
    with pytest.raises(ServerUnusable, match=r"is 0.1, and .* here: install the same lock"):
        check(node)
    monkeypatch.setenv(variable, NOBODY)
    with pytest.raises(ServerUnusable, match=f"does not answer .*Connection refused.*start the server, or correct {variable}"):
        check(node)


def test_rays_token_is_shown_to_it_and_a_head_without_one_is_odd(
    node: Node, answers: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = {"ray_version": version("ray")}
    monkeypatch.setenv("RAY_JOB_ADDRESS", answers(found, "let-me-in"))
    with pytest.raises(ServerUnusable, match="answers 401 .*RAY_AUTH_TOKEN_PATH names the file with the token"):
        servers.ray(node)
    (tmp_path / "token").write_text("let-me-in\n")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert f"answers, Ray {version('ray')}" in str(servers.ray(node))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "let-me-in")
    assert f"answers, Ray {version('ray')}" in str(servers.ray(node))
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_JOB_ADDRESS", answers(found))
    with pytest.raises(Remark, match="and so it does to anybody who reaches it: set RAY_AUTH_MODE=token"):
        servers.ray(node)


def test_a_webserver_behind_a_proxy_is_shown_the_password_and_nobody_else_is(
    node: Node, answers: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = answers({"dagster_version": version("dagster")}, "Basic bWU6Z2VoZWltLXdvcnQ=")
    monkeypatch.setenv("LAFID_DAGSTER_URL", url.replace("://", "://me:geheim-wort@"))
    assert servers.webserver(node) == f"{url} answers, Dagster {version('dagster')}"
    monkeypatch.setenv("LAFID_DAGSTER_URL", url.replace("://", "://me:falsch-wort@"))
    with pytest.raises(ServerUnusable, match="answers 401 .*correct LAFID_DAGSTER_URL$") as refused:
        servers.webserver(node)
    assert "wort" not in str(refused.value)


def test_an_mlflow_that_is_away_blocks(node: Node, answers: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", answers({}))
    assert str(servers.mlflow(node)).endswith("answers")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOBODY)
    with pytest.raises(TrackingUnreachable):
        servers.mlflow(node)
