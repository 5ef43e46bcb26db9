"""Where the logs of the Google Merchandise Store are, for tests that read them."""

import os
from pathlib import Path

import pytest

VARIABLE = "CABB_MERCHANDISE_STORE"
FOLDER = Path(os.environ.get(VARIABLE, "merchandise_store")).resolve()
needed = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no logs of the merchandise store at {FOLDER}; set {VARIABLE}"
)
