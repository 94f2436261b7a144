"""How DuckDB reaches an S3 store: the credentials and endpoint that the environment names.

Not here: pyarrow's own S3 client (`file_store`), which reads the same environment by itself.
"""

import os
from urllib.parse import urlsplit

import duckdb

from resources.lake.duckdb_extensions import quoted


class S3Access:
    """Credentials as boto finds them (environment, profile, role); those of a role change every hour or so."""

    def __init__(self) -> None:
        from botocore.session import Session

        session = Session()
        self._credentials = session.get_credentials()
        self._region = session.get_config_variable("region") or "us-east-1"
        self._given = ""

    def renew(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Tell DuckDB the credentials, if they are others than before."""
        statement = self._statement()
        if statement != self._given:
            cursor.execute(statement)
            self._given = statement

    def _statement(self) -> str:
        facts = {"TYPE": "s3", "REGION": self._region}
        if self._credentials is not None:
            frozen = self._credentials.get_frozen_credentials()
            facts |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
            facts |= {"SESSION_TOKEN": frozen.token} if frozen.token else {}
        if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
            parts = urlsplit(endpoint)
            facts |= {"ENDPOINT": parts.netloc + parts.path.rstrip("/"), "URL_STYLE": "path"}
            facts |= {"USE_SSL": "false"} if parts.scheme == "http" else {}
        told = ", ".join(f"{name} {value if name in ('TYPE', 'USE_SSL') else quoted(value)}" for name, value in facts.items())
        return f"CREATE OR REPLACE SECRET lafid_store ({told})"
