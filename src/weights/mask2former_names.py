"""Names of Mask2Former's weights in detectron2 checkpoints (facebookresearch/Mask2Former, MPVSS) and in ours."""

from collections.abc import Mapping
from typing import Any

from src.weights.renaming import WEIGHT_AND_BIAS, Names, NameTable

_PIXEL_LAYER = {
    "self_attn.sampling_offsets": "self_attn.sampling_offsets",
    "self_attn.attention_weights": "self_attn.attention_weights",
    "self_attn.value_proj": "self_attn.value_proj",
    "self_attn.output_proj": "self_attn.output_proj",
    "norm1": "self_attn_layer_norm",
    "linear1": "fc1",
    "linear2": "fc2",
    "norm2": "final_layer_norm",
}
_DECODER_LAYER = {
    "transformer_self_attention_layers.{}.self_attn.out_proj": "self_attn.out_proj",
    "transformer_self_attention_layers.{}.norm": "self_attn_layer_norm",
    "transformer_cross_attention_layers.{}.multihead_attn.out_proj": "cross_attn.out_proj",
    "transformer_cross_attention_layers.{}.norm": "cross_attn_layer_norm",
    "transformer_ffn_layers.{}.linear1": "fc1",
    "transformer_ffn_layers.{}.linear2": "fc2",
    "transformer_ffn_layers.{}.norm": "final_layer_norm",
}
_SWIN_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.o_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_POSITION_TABLE = "relative_position_bias_table"
_QKV = ("q_proj", "k_proj", "v_proj")
_BATCH_NORM = (*WEIGHT_AND_BIAS, "running_mean", "running_var", "num_batches_tracked")


def segmentor_names(config: Mapping[str, Any]) -> Names:
    """Return the names of all tensors that an official checkpoint and our segmentor share, from ``segmentor.config()``.

    Two tensors of ours have no official counterpart, see :func:`unused_names`. Official checkpoints also contain buffers that
    follow from the sizes, see :func:`position_index_names`.
    """
    backbone: Mapping[str, Any] = config["backbone_config"]
    if backbone["model_type"] == "swin":
        names = _swin_names(backbone)
    elif backbone["model_type"] == "resnet":
        names = _resnet_names(backbone)
    else:
        raise ValueError(f"backbone is {backbone['model_type']!r}; expected 'swin' or 'resnet', which have official names")
    return {**names, **_pixel_decoder_names(config), **_predictor_names(config)}


def unused_names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return our names of the tensors that transformers creates and no result depends on."""
    if config["backbone_config"]["model_type"] != "swin":
        return ()
    return tuple(f"network.model.pixel_level_module.encoder.swin.layernorm.{kind}" for kind in WEIGHT_AND_BIAS)


def position_index_names(config: Mapping[str, Any]) -> list[str]:
    """Return the official names of Swin's ``relative_position_index``: (w * w, w * w) int64, a function of the window w."""
    backbone: Mapping[str, Any] = config["backbone_config"]
    return [
        f"backbone.layers.{stage}.blocks.{block}.attn.relative_position_index"
        for stage, depth in enumerate(backbone.get("depths", ()) if backbone["model_type"] == "swin" else ())
        for block in range(depth)
    ]


def _swin_names(backbone: Mapping[str, Any]) -> Names:
    table = NameTable("backbone.", "network.model.pixel_level_module.encoder.")
    table.add("patch_embed.proj", "swin.embeddings.patch_embeddings.projection")
    table.add("patch_embed.norm", "swin.embeddings.norm")
    depths = backbone["depths"]
    for stage, depth in enumerate(depths):
        table.add(f"norm{stage}", f"hidden_states_norms.stage{stage + 1}")
        for block in range(depth):
            official, ours = f"layers.{stage}.blocks.{block}.", f"swin.encoder.layers.{stage}.blocks.{block}."
            for theirs, mine in _SWIN_BLOCK.items():
                table.add(official + theirs, ours + mine)
            table.add(official + "attn", ours + "attention.relative_position_bias", (_POSITION_TABLE,))
            for kind in WEIGHT_AND_BIAS if backbone["qkv_bias"] else ("weight",):
                parts = tuple(f"{table.ours}{ours}attention.{part}.{kind}" for part in _QKV)
                table.names[f"{table.published}{official}attn.qkv.{kind}"] = parts
        if stage < len(depths) - 1:
            table.add(f"layers.{stage}.downsample.reduction", f"swin.encoder.layers.{stage}.downsample.reduction", ("weight",))
            table.add(f"layers.{stage}.downsample.norm", f"swin.encoder.layers.{stage}.downsample.norm")
    return table.names


def _resnet_names(backbone: Mapping[str, Any]) -> Names:
    table = NameTable("backbone.", "network.model.pixel_level_module.encoder.")

    def convolution(official: str, ours: str) -> None:
        table.add(official, f"{ours}.convolution", ("weight",))
        table.add(f"{official}.norm", f"{ours}.normalization", _BATCH_NORM)

    convolution("stem.conv1", "embedder.embedder")
    for stage, depth in enumerate(backbone["depths"]):
        for block in range(depth):
            official, ours = f"res{stage + 2}.{block}", f"encoder.stages.{stage}.layers.{block}"
            for number in range(3):
                convolution(f"{official}.conv{number + 1}", f"{ours}.layer.{number}")
            if block == 0:
                convolution(f"{official}.shortcut", f"{ours}.shortcut")
    return table.names


def _pixel_decoder_names(config: Mapping[str, Any]) -> Names:
    table = NameTable("sem_seg_head.pixel_decoder.", "network.model.pixel_level_module.decoder.")
    for level in range(3):
        for part in range(2):
            table.add(f"input_proj.{level}.{part}", f"input_projections.{level}.{part}")
    for layer in range(config["encoder_layers"]):
        for theirs, mine in _PIXEL_LAYER.items():
            table.add(f"transformer.encoder.layers.{layer}.{theirs}", f"encoder.layers.{layer}.{mine}")
    for part_of_fpn in ("adapter_1", "layer_1"):
        table.add(part_of_fpn, f"{part_of_fpn}.0", ("weight",))
        table.add(f"{part_of_fpn}.norm", f"{part_of_fpn}.1")
    table.add("mask_features", "mask_projection")
    return table.names | {f"{table.published}transformer.level_embed": (f"{table.ours}level_embed",)}


def _predictor_names(config: Mapping[str, Any]) -> Names:
    table = NameTable("sem_seg_head.predictor.", "network.model.transformer_module.")
    table.add("query_feat", "queries_features", ("weight",))
    table.add("query_embed", "queries_embedder", ("weight",))
    table.add("level_embed", "level_embed", ("weight",))
    if config["enforce_input_projection"] or config["feature_size"] != config["hidden_dim"]:
        for level in range(3):
            table.add(f"input_proj.{level}", f"input_projections.{level}")
    # transformers counts predictions, one more than there are layers.
    for layer in range(config["decoder_layers"] - 1):
        ours = f"decoder.layers.{layer}."
        for theirs, mine in _DECODER_LAYER.items():
            table.add(theirs.format(layer), ours + mine)
        for kind in WEIGHT_AND_BIAS:
            cross = f"transformer_cross_attention_layers.{layer}.multihead_attn.in_proj_{kind}"
            own = f"transformer_self_attention_layers.{layer}.self_attn.in_proj_{kind}"
            table.names[table.published + cross] = (f"{table.ours}{ours}cross_attn.in_proj_{kind}",)
            table.names[table.published + own] = tuple(f"{table.ours}{ours}self_attn.{part}.{kind}" for part in _QKV)
    table.add("decoder_norm", "decoder.layernorm")
    for number in range(3):
        table.add(f"mask_embed.layers.{number}", f"decoder.mask_predictor.mask_embedder.{number}.0")
    names = table.names
    return names | {
        f"sem_seg_head.predictor.class_embed.{kind}": (f"network.class_predictor.{kind}",) for kind in WEIGHT_AND_BIAS
    }
