"""A catalog belongs to the first cluster that works on it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from resources.lake.catalog import Catalog, CatalogUnusable
from resources.lake.catalog_cluster import Cluster, claim, cluster_of, remembered

OURS, THEIRS = Cluster("71/16384", "postgresql://me@one/dagster"), Cluster("72/16384", "postgresql://me@two/dagster")


@pytest.fixture(params=["sqlite", "postgres"])
def catalog(request: pytest.FixtureRequest, tmp_path: Path) -> Catalog:
    if request.param == "postgres":
        return Catalog(request.getfixturevalue("postgres_url"))
    return Catalog(f"sqlite:///{tmp_path}/catalog.sqlite")


def test_a_second_cluster_is_refused_with_both_named(catalog: Catalog) -> None:
    assert remembered(catalog) is None
    claim(catalog, OURS)
    claim(catalog, OURS._replace(address="postgresql://me@10.0.0.1/dagster"))  # by another name
    with pytest.raises(CatalogUnusable, match=r"postgresql://me@one/dagster works on the catalog .*, and this one's is .*@two/"):
        claim(catalog, THEIRS)
    assert remembered(catalog) == OURS


def test_the_remedy_lets_go_of_a_cluster_that_is_gone(catalog: Catalog) -> None:
    claim(catalog, OURS)
    with pytest.raises(CatalogUnusable, match="`DELETE FROM lafid_cluster`"):
        claim(catalog, THEIRS)
    with catalog.opened(writing=True) as cursor:
        cursor.execute("DELETE FROM lafid_cluster")
    claim(catalog, THEIRS)
    assert remembered(catalog) == THEIRS


def test_of_two_that_come_at_once_one_is_remembered(catalog: Catalog) -> None:
    def come(cluster: Cluster) -> bool:
        try:
            claim(catalog, cluster)
        except CatalogUnusable:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        came = list(pool.map(come, [OURS, THEIRS] * 4))
    assert remembered(catalog) == (OURS if came[0] else THEIRS)
    assert came in ([True, False] * 4, [False, True] * 4)


def test_a_database_is_named_without_its_password(postgres_url: str) -> None:
    url = postgres_url.replace("postgresql://lafid@", "postgresql+psycopg2://lafid:geheim@")
    assert cluster_of(url).address == postgres_url.replace("lafid@", "lafid:***@")
