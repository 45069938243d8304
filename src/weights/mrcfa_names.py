"""Names and architecture of published MRCFA checkpoints."""

from collections.abc import Mapping
from typing import Any

from src.models.clip_segmentors.mit import REDUCTIONS
from src.weights.renaming import Names, NameTable

MARK = "decode_head.hypercorre_module."
"""Start of names that only these checkpoints have."""
UNUSED = ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
"""Classifier that the published code builds and saves, and never runs."""

_HEAD = "decode_head."
_REFINEMENT = f"{MARK}hpn.encoder_layer"
# Published name of a part of the refinement and ours.
_PARTS = {"4": "scale32", "3": "scale16", "2": "scale8", "4to3": "mix16", "3to2": "mix8"}
_BLOCK = {
    "norm1": "layernorm_before",
    "attn.q": "attention.q_proj",
    "attn.proj": "attention.o_proj",
    "norm2": "layernorm_after",
    "mlp.fc1": "mlp.fc1",
    "mlp.dwconv.dwconv": "mlp.dwconv.dwconv",
    "mlp.fc2": "mlp.fc2",
}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def mrcfa_config(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the config of the ``MrcfaSegmentor`` in a checkpoint from the shapes of its tensors.

    The share of kept tokens is not visible in shapes: the published code has 0.8 for MiT-B0, else 0.5.

    Raises:
        ValueError: if a tensor that the architecture is read from is missing or of another rank.
    """
    norms = [f"backbone.norm{stage}.weight" for stage in range(1, 5)]
    classifier, embedding = f"{_HEAD}linear_pred.weight", f"{_HEAD}linear_c1.proj.weight"
    ranks = dict.fromkeys(norms, 1) | {classifier: 4, embedding: 2}
    if wrong := [name for name, rank in ranks.items() if len(shapes.get(name, ())) != rank]:
        raise ValueError(f"MRCFA without {', '.join(wrong)}; expected the tensors of the published network")
    widths = [shapes[name][0] for name in norms]
    return {
        "model_type": "mrcfa",
        "num_classes": shapes[classifier][0],
        "widths": widths,
        "depths": [_depth(shapes, stage) for stage in range(1, 5)],
        "embed_dim": shapes[embedding][0],
        "kept_share": 0.8 if widths[0] == 32 else 0.5,
        "refinement": "deep" if f"{_REFINEMENT}4.3.conv2.weight" in shapes else "shallow",
        "drop_path_rate": 0.1,
    }


def mrcfa_names(config: Mapping[str, Any]) -> Names:
    """Map the published tensors of a config of :func:`mrcfa_config` to those of our ``MrcfaSegmentor``; one to one."""
    return _backbone_names(config["depths"]) | _head_names(2 if config["refinement"] == "deep" else 1)


def _depth(shapes: Mapping[str, tuple[int, ...]], stage: int) -> int:
    start = f"backbone.block{stage}."
    return len({name.removeprefix(start).split(".")[0] for name in shapes if name.startswith(start)})


def _backbone_names(depths: list[int]) -> Names:
    table = NameTable("backbone.", "encoder.network.")
    for stage, (depth, reduction) in enumerate(zip(depths, REDUCTIONS, strict=True)):
        table.add(f"patch_embed{stage + 1}.proj", f"stages.{stage}.patch_embeddings.proj")
        table.add(f"patch_embed{stage + 1}.norm", f"stages.{stage}.patch_embeddings.layer_norm")
        table.add(f"norm{stage + 1}", f"stages.{stage}.layer_norm")
        for block in range(depth):
            published, ours = f"block{stage + 1}.{block}.", f"stages.{stage}.blocks.{block}."
            for name, own in _BLOCK.items():
                table.add(published + name, ours + own)
            for kind in ("weight", "bias"):
                halves = tuple(f"{table.ours}{ours}attention.{half}_proj.{kind}" for half in "kv")
                table.names[f"{table.published}{published}attn.kv.{kind}"] = halves
            if reduction > 1:
                table.add(f"{published}attn.sr", f"{ours}attention.sequence_reduction.sequence_reduction")
                table.add(f"{published}attn.norm", f"{ours}attention.sequence_reduction.layer_norm")
    return table.names


def _head_names(units: int) -> Names:
    table = NameTable(_HEAD, "head.")
    for number in range(4):
        table.add(f"linear_c{number + 1}.proj", f"embeddings.{number}")
        table.add(f"deco{number + 1}.smalldecoder.1", f"clip_classifiers.{number}.1")
    table.add("linear_fuse.conv", "fuse.0", ("weight",))
    table.add("linear_fuse.bn", "fuse.1", _BATCH_NORM)
    table.add("linear_pred", "frame_classifier.1")
    # Published numbers rise from 1/8 to 1/32.
    for number in range(3):
        table.add(f"hypercorre_module.q{3 - number}", f"target_projections.{number}")
        table.add(f"hypercorre_module.k{3 - number}", f"key_projections.{number}")
    table.add("sr3", "key_reductions.1")
    table.add("sr2", "key_reductions.2")
    table.add("sr1_feat", "value_reduction")
    refinement = NameTable(_REFINEMENT, "head.refinement.")
    for published, ours in _PARTS.items():
        for unit in range(units):
            refinement.add(f"{published}.{3 * unit}.conv2", f"{ours}.{unit}.0")
            refinement.add(f"{published}.{3 * unit + 1}", f"{ours}.{unit}.1")
    return table.names | refinement.names
