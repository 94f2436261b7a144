"""Where an installation lives when nobody says otherwise.

Belongs here: the home and the models folder, from the environment. Not here: anything else's address (`resources.settings`).
"""

import os
from pathlib import Path

_CHECKOUT = Path(__file__).resolve().parents[2]


def lafid_home() -> Path:
    """`LAFID_HOME`, else `.lafid/` in the checkout, else in the working directory."""
    beside = _CHECKOUT if (_CHECKOUT / "pyproject.toml").is_file() else Path.cwd()
    return Path(os.environ.get("LAFID_HOME") or beside / ".lafid").expanduser().absolute()


def models_folder(home: Path | None = None) -> Path:
    """`LAFID_MODELS`, else `models/` in the home."""
    return Path(os.environ.get("LAFID_MODELS") or (home or lafid_home()) / "models").expanduser().absolute()
