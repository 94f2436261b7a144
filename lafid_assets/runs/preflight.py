"""Is this node fit to work on this run? Asked by a run's first step, before anything is computed.

Belongs here: what a run carries of whoever submitted it, and what its node must have like everybody else. Not here: the questions
themselves (`resources`), what a node lacks beside a run (`doctor`), what a run's config asks for (`settings_check`).

On one machine a run carries nothing, and only the store is asked: code that is changed while runs wait is its developer's affair.
"""

from collections.abc import Mapping

from resources import postgres
from resources.lake.catalog import Catalog
from resources.lake.catalog_cluster import claim, cluster_of
from resources.settings import Settings
from resources.software import Software, place
from resources.store.file_store import FileStore

SOFTWARE_TAG, PLACE_TAG = "lafid/software", "lafid/place"
"""Of runs that go out to other machines: what the submitter runs, and where it lies."""
MOST_SKEW_S = 60.0
"""Between a node's clock and the catalog's. S3 refuses requests at 15 minutes."""


class NodeUnfit(RuntimeError):
    """This node must not work on this run; the message says why, and what to do."""


def carried() -> dict[str, str]:
    """The tags of a run that this process submits to other machines."""
    return {SOFTWARE_TAG: str(Software.here()), PLACE_TAG: place()}


def refuse_unfit(settings: Settings, tags: Mapping[str, str], dagster_url: str | None) -> None:
    """See that this node may work on a run.

    Args:
        tags: of the run.
        dagster_url: where Dagster keeps its records; None where that is no server.

    Raises:
        NodeUnfit: it runs another LaFID than the submitter, or its clock is wrong.
        CatalogUnusable, PostgresUnusable: another cluster works on the catalog, or a database cannot be asked.
        StoreUnusable: the store cannot be written.
    """
    refuse_other_software(tags)
    store = FileStore(settings.store_uri)
    if SOFTWARE_TAG in tags:
        catalog = Catalog.of(store, settings.catalog_address)
        if catalog.sqlite_path is None:
            refuse_wrong_clock(postgres.facts(catalog.url).ahead_s, f"the catalog {catalog}")
        if dagster_url is not None:
            claim(catalog, cluster_of(dagster_url))
    store.refuse_unwritable()


def refuse_other_software(tags: Mapping[str, str]) -> None:
    """
    Raises:
        NodeUnfit: this node would compute something else than whoever submitted a run with these tags.
    """
    if differing := differences(tags.get(SOFTWARE_TAG, str(Software.here()))):
        raise NodeUnfit(
            f"this node runs another LaFID than the run was submitted with ({'; '.join(differing)}): install the same checkout "
            "and lock on every node (`lafid doctor` compares), restart Dagster's servers, and execute the run again"
        )


def differences(there: str) -> list[str]:
    """What differs between the software that a tag tells of and that of this process."""
    here = str(Software.here())
    if there == here:
        return []
    pairs = list(zip(there.split(", "), here.split(", "), strict=False))
    return [f"{other} there, {own} here" for other, own in pairs if other != own] or [there]


def refuse_wrong_clock(ahead_s: float, whose: str) -> None:
    """
    Args:
        ahead_s: how far this machine's clock is before the other one.

    Raises:
        NodeUnfit: further than can be.
    """
    if abs(ahead_s) > MOST_SKEW_S:
        raise NodeUnfit(
            f"this node's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} that of {whose}: set the clock "
            "that is wrong, and let it be kept (chrony, systemd-timesyncd)"
        )
