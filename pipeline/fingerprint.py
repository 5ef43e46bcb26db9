"""What identifies a run: its input files and, with configuration and code, the run itself."""

import hashlib
from pathlib import Path

from components.session_example_gen.readers import files_of
from pipeline.code_hash import code_hash
from pipeline.config import Config
from schemas.errors import InputError
from schemas.events import LogSource


def data_fingerprint(source: LogSource) -> str:
    """SHA-256 over names, sizes and modification times of the log files and the catalog; 16 hex digits.

    Raises:
        InputError: a path of the source names no file.
    """
    if source.catalog and not Path(source.catalog).is_file():
        raise InputError(f"data.catalog: no file at {source.catalog}; correct the path in the configuration")
    digest = hashlib.sha256()
    for path in [*files_of(source.events), *([source.catalog] if source.catalog else [])]:
        status = Path(path).stat()
        digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def run_key(config: Config, fingerprint: str) -> str:
    """Same data, settings and code give the same key; 16 hex digits."""
    code = code_hash("components", "models", "schemas", "serving", "pipeline.pipeline")
    return hashlib.sha256(f"{fingerprint}\0{config.digest()}\0{code}".encode()).hexdigest()[:16]
