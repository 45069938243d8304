"""Records of an offline W&B run."""

import time
from pathlib import Path

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7


def logged_bytes(run: Path) -> bytes:
    """Return all records of a run, concatenated.

    The file is a LevelDB log of 32 KiB blocks. A record across a border is split into parts with separate headers (checksum, 2
    bytes of length, kind), so a name may be split in the raw file.

    Args:
        run: folder of the run. W&B's service may still write after ``finish`` has returned; it gets 20 seconds.
    """
    (path,) = run.glob("*.wandb")
    deadline, size = time.monotonic() + 20, -1
    while (size <= FILE_HEADER or path.stat().st_size != size) and time.monotonic() < deadline:
        size = path.stat().st_size
        time.sleep(0.3)
    data, position, parts = path.read_bytes(), FILE_HEADER, []
    while position + RECORD_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD_HEADER:  # no room for a header: zeros up to the next block
            position += left
            continue
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        position += RECORD_HEADER
        parts.append(data[position : position + length])
        position += length
    return b"".join(parts)
