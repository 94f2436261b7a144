"""Which cluster works on a catalog: the catalog remembers Dagster's database, whose pools, sensors and retries count for all.

Belongs here: writing that down once, and comparing. Not here: a single home, whose records are its own and which may share a
catalog with others; what a database is called (`postgres`).
"""

from contextlib import suppress
from typing import NamedTuple

import duckdb

from resources import postgres
from resources.lake.catalog import Catalog, CatalogUnusable, agreed
from resources.lake.duckdb_extensions import quoted
from resources.secrets import without_password


class Cluster(NamedTuple):
    """Dagster's database: its identity wherever it is reached, and the address by which it came first."""

    identity: str
    address: str


def cluster_of(dagster_url: str) -> Cluster:
    """The cluster of the Dagster whose records lie there.

    Raises:
        PostgresUnusable: the database cannot be asked.
    """
    return Cluster(postgres.facts(dagster_url).identity, without_password(dagster_url).replace("+psycopg2", ""))


def remembered(catalog: Catalog) -> Cluster | None:
    """The cluster that works on a catalog; None where there was none yet.

    Raises:
        CatalogUnusable: the catalog does not answer.
    """
    if catalog.sqlite_path is not None and not catalog.sqlite_path.is_file():
        return None
    with catalog.opened() as cursor, suppress(duckdb.CatalogException):
        found = cursor.execute("SELECT identity, address FROM lafid_cluster").fetchall()
        return Cluster(*found[0]) if found else None
    return None


def claim(catalog: Catalog, cluster: Cluster) -> None:
    """The first cluster that works on a catalog is the one that it belongs to.

    Raises:
        CatalogUnusable: it is another's, or does not answer.
    """
    require_same(catalog, _remember(catalog, cluster), cluster)


def require_same(catalog: Catalog, there: Cluster, cluster: Cluster) -> None:
    """
    Raises:
        CatalogUnusable: the catalog is another cluster's.
    """
    if there.identity != cluster.identity:
        raise CatalogUnusable(
            f"the cluster whose Dagster is {there.address} works on the catalog {catalog}, and this one's is {cluster.address}: "
            "give this one a catalog and a store of its own, or set LAFID_DAGSTER_DB to the other's; where that one is gone for "
            "good, `DELETE FROM lafid_cluster` in the catalog's database lets go of it"
        )


def _remember(catalog: Catalog, cluster: Cluster) -> Cluster:
    def write(cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(
            "CREATE TABLE IF NOT EXISTS lafid_cluster (one INTEGER PRIMARY KEY, identity TEXT NOT NULL, address TEXT NOT NULL)"
        )
        cursor.execute(
            f"INSERT INTO lafid_cluster SELECT 1, {quoted(cluster.identity)}, {quoted(cluster.address)} "
            "WHERE NOT EXISTS (FROM lafid_cluster)"
        )

    return agreed(catalog, remembered, write)
