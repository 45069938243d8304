"""Names of the flow estimators' weights in published checkpoints and in ours."""

from functools import cache

from src.weights.renaming import WEIGHT_AND_BIAS, Names, NameTable

MOTION_PREFIX = "motion."
"""Prefix of the names of :func:`motion_names` in published whole-model checkpoints."""

_ENCODER = ("1.0", "2.0", "3.0", "3.1", "4.0", "4.1", "5.0", "5.1", "6.0", "6.1")
_PREDICT = ("6", "5", "4", "3", "")
_LAYER = {
    "transformer_self_attention_layers.{}.self_attn.out_proj": "attention_out",
    "transformer_self_attention_layers.{}.norm": "attention_norm",
    "transformer_ffn_layers.{}.linear1": "ffn_in",
    "transformer_ffn_layers.{}.linear2": "ffn_out",
    "transformer_ffn_layers.{}.norm": "ffn_norm",
}


@cache
def motion_names(layers: int = 9) -> Names:
    """Map each tensor of the published motion module (without prefix) to its name in our ``QueryFlow``; shapes are equal.

    The mapping is one to one.

    Args:
        layers: number of layers of the query decoder.
    """
    table = NameTable("decoder.", "")
    for level in range(3):
        table.add(f"input_proj.{level}", f"query_decoder.projections.{level}")
    for layer in range(layers):
        for kind in WEIGHT_AND_BIAS:
            attention = f"query_decoder.layers.{layer}.attention_in.{kind}"
            table.names[f"decoder.transformer_self_attention_layers.{layer}.self_attn.in_proj_{kind}"] = (attention,)
        for published, ours in _LAYER.items():
            table.add(published.format(layer), f"query_decoder.layers.{layer}.{ours}")
    if layers:
        table.add("query_embed", "query_decoder.query_embed", ("weight",))
    table.add("level_embed", "query_decoder.level_embed", ("weight",))
    table.add("decoder_norm", "segment_head.query_norm")
    for number in range(3):
        table.add(f"output_head.layers.{number}", f"segment_head.query_mlp.{2 * number}")
        table.add(f"scale_layer.layers.{number}", f"segment_head.map_mlp.{2 * number}")
    table.add("fuse_layer.conv", "fuse.conv")
    return _flownet("encoder.", "decoder.") | table.names


@cache
def flownet_names() -> Names:
    """Map each tensor of mmtracking's ``FlowNetSimple`` (``flownet_simple.pth``) to its name in our ``PixelFlow``."""
    return _flownet("", "")


def _flownet(encoder: str, decoder: str) -> Names:
    """Map the tensors of FlowNetS; the published motion module has prefixes for its two halves, FlowNetSimple has none."""
    table = NameTable("", "")
    for name in _ENCODER:
        stage, part = name.split(".")
        # Our indices also count the activations between the convolutions.
        table.add(f"{encoder}conv{name}.conv", f"encoder.stages.{int(stage) - 1}.{2 * int(part)}")
    for level, name in enumerate(_PREDICT):
        table.add(f"{decoder}predict_flow{name}.conv", f"pixel_decoder.predict.{level}", ("weight",))
    for step, number in enumerate((5, 4, 3, 2)):
        table.add(f"{decoder}upsample_flow{number}.conv", f"pixel_decoder.upsample_flow.{step}", ("weight",))
        table.add(f"{decoder}deconv{number}.conv", f"pixel_decoder.upsample_features.{step}", ("weight",))
    return table.names
