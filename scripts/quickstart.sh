#!/usr/bin/env bash
# Train the whole method on generated scenes, then compare it with its baselines on held-out clips. Finished stages are
# not repeated, and an interrupted stage resumes from its last checkpoint.
set -euo pipefail
cd "$(dirname "$0")/.."
out=outputs/quickstart
for stage in segmentor flow propagation; do
  python -m src.train experiment=quickstart stage="$stage" resume=true "$@"
done
rm -rf "$out/model"
cp -r "$out/propagation/model" "$out/model"
python -m src.eval checkpoint="$out/model" data=moving_scenes "methods=[per_frame,copy,dis,pixel,query]" "key_intervals=[5]" key_frame_offsets=first \
  output="$out/table.json" overlay="$out/overlay.mp4" pictures="$out/pictures" overwrite=true
python -m src.eval checkpoint="$out/model" data=moving_scenes "methods=[dis,query]" "key_intervals=[5]" key_frame_offsets=first \
  mode=offline fuse_keys=true output="$out/offline.json" overwrite=true
echo "tables: $out/table.json, offline.json   video: $out/overlay.mp4   pictures: $out/pictures   model: $out/model"
