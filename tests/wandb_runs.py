"""What an offline W&B run holds."""

import time
from pathlib import Path

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7


def logged_bytes(run: Path) -> bytes:
    """All records of a run, one after another.

    The file is a LevelDB log: blocks of 32 KiB, and a record that crosses a border is cut in two, each part with a header of its
    own (checksum, 2 bytes of length, kind). A name that is looked for in the raw file may so be torn.

    Args:
        run: folder of the run. The service that writes it may still be at it when ``finish`` has returned; it gets 20 seconds.
    """
    (path,) = run.glob("*.wandb")
    deadline, size = time.monotonic() + 20, -1
    while (size <= FILE_HEADER or path.stat().st_size != size) and time.monotonic() < deadline:
        size = path.stat().st_size
        time.sleep(0.3)
    data, position, parts = path.read_bytes(), FILE_HEADER, []
    while position + RECORD_HEADER <= len(data):
        left = BLOCK - position % BLOCK
        if left < RECORD_HEADER:  # too little for a header: zeros up to the next block
            position += left
            continue
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        position += RECORD_HEADER
        parts.append(data[position : position + length])
        position += length
    return b"".join(parts)
