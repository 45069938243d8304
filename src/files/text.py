"""Text files."""

from pathlib import Path


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, with any line ending and without a byte order mark.

    Raises:
        ValueError: if the file cannot be read or is not UTF-8; the message names it.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected UTF-8 text") from error
