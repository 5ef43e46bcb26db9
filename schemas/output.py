"""Where results go: folders that can be written to, files that are whole or not there."""

import os
import tempfile
from pathlib import Path

from schemas.errors import InputError


def writable(folder: Path) -> Path:
    """The folder, which need not be there yet and is not made: what is refused later leaves nothing behind.

    Raises:
        InputError: nothing could be written to it.
    """
    try:
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        with tempfile.TemporaryFile(dir=there):
            return folder
    except OSError as error:
        raise InputError(
            f"{folder}: results cannot be written there ({error.strerror}); choose another output"
        ) from None


def write_whole(path: Path, text: str) -> Path:
    """Writes a text file under a temporary name and renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path
