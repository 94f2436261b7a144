"""How DuckDB reaches an S3 store: the credentials and endpoint that the environment names.

Not here: pyarrow's own S3 client (`file_store`), which reads the same environment by itself.
"""

import os
from urllib.parse import urlsplit

from resources.duckdb_extensions import quoted


def s3_secret() -> str:
    """The CREATE SECRET statement; credentials are found as boto finds them (environment, profile, role)."""
    from botocore.session import Session

    session = Session()
    credentials = session.get_credentials()
    facts = {"TYPE": "s3", "REGION": session.get_config_variable("region") or "us-east-1"}
    if credentials is not None:
        frozen = credentials.get_frozen_credentials()
        facts |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
        facts |= {"SESSION_TOKEN": frozen.token} if frozen.token else {}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        parts = urlsplit(endpoint)
        facts |= {"ENDPOINT": parts.netloc + parts.path.rstrip("/"), "URL_STYLE": "path"}
        facts |= {"USE_SSL": "false"} if parts.scheme == "http" else {}
    told = ", ".join(f"{name} {value if name in ('TYPE', 'USE_SSL') else quoted(value)}" for name, value in facts.items())
    return f"CREATE OR REPLACE SECRET lafid_store ({told})"
