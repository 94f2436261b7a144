"""The lake of an installation: the project's tables at its addresses.

Belongs here: putting contracts and addresses together. Not here: what a lake is (`resources.lake.lake`).
"""

from lafid_assets.schemas import TABLES
from resources.lake.catalog import Catalog
from resources.lake.lake import Lake
from resources.settings import Settings
from resources.store.file_store import FileStore


def open_lake(settings: Settings, *, read_only: bool = False) -> Lake:
    """The lake; nothing is opened before it is used.

    Raises:
        CatalogUnusable: the store is remote and there is no address of a catalog.
    """
    store = FileStore(settings.store_uri, settings.home)
    return Lake(store, Catalog.of(store, settings.catalog_address), settings.home, TABLES, read_only=read_only)
