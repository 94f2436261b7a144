"""`lafid adopt`."""

from pathlib import Path
from typing import Any

import pytest

COMMIT = "a" * 40


def test_base_that_is_not_there_is_answered_with_how_to_fetch_it(lafid: Any, home: Path) -> None:
    error = lafid("adopt", "wan2.1-t2v-1.3b", COMMIT).error
    components = home / "store" / "bases" / "wan2.1-t2v-1.3b" / "components"
    assert f"{components} lacks transformer, vae, text_encoder, tokenizer, scheduler" in error
    assert f"hf download Wan-AI/Wan2.1-T2V-1.3B-Diffusers --revision {COMMIT} --local-dir {components}" in error


@pytest.mark.parametrize(
    ("name", "commit", "message"),
    [
        ("wan2.1-t2v-1.3b", "main", "'main' is no commit"),
        ("tiny", COMMIT, "base tiny has no repository"),
        ("wan9", COMMIT, "wan9"),
    ],
)
def test_what_cannot_be_adopted_is_one_line(lafid: Any, name: str, commit: str, message: str) -> None:
    assert message in lafid("adopt", name, commit).error
