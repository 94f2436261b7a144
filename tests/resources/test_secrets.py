"""What nobody may read is taken out of what is shown."""

import pytest

from resources.secrets import has_password, without_password, without_secrets


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://lafid:p%40ss@host:5432/db", "postgresql://lafid:***@host:5432/db"),
        ("postgresql://lafid@host/db?password=p&sslmode=require", "postgresql://lafid@host/db?password=***&sslmode=require"),
        ("https://:token@mlflow.team", "https://:***@mlflow.team"),
        ("http://me:p@ss@host, http://me:word@host", "http://me:***@host, http://me:***@host"),
    ],
)
def test_a_password_is_taken_out_of_an_address(address: str, shown: str) -> None:
    assert has_password(address)
    assert without_password(address) == shown


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:5000", "sqlite:////a/b@c:d.db", "postgresql://lafid@host:5432/db", "s3://x"]
)
def test_an_address_without_one_is_shown_as_it_is(address: str) -> None:
    assert not has_password(address)
    assert without_password(address) == address


def test_secrets_of_the_environment_are_taken_out_of_a_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "sk-longenough")
    monkeypatch.setenv("LAFID_CATALOG", "postgresql://lafid:odd%40pass@host/db")
    monkeypatch.setenv("SHORT_KEY", "none")
    monkeypatch.setenv("LAFID_TEST_WORD", "ordinary-word")
    said = "sk-longenough, odd@pass, odd%40pass, none, ordinary-word, http://u:other@h"
    assert without_secrets(said) == "***, ***, ***, none, ordinary-word, http://u:***@h"
