"""Published names of MRCFA: strict loading, and the reference numbers of the published network."""

import json
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from src.models.clip_segmentors.mrcfa import MrcfaSegmentor
from src.weights.mrcfa_names import UNUSED, mrcfa_config, mrcfa_names
from src.weights.official import from_official
from src.weights.renaming import export_renamed
from tests.models.clip_segmentors.tiny import tiny_mrcfa
from tests.weights.golden_rule import keyed


def published(network: MrcfaSegmentor) -> dict[str, Tensor]:
    return export_renamed(network, mrcfa_names(network.config()))


@pytest.mark.parametrize("refinement", ["shallow", "deep"])
def test_published_names_give_the_same_network(refinement: str) -> None:
    network = tiny_mrcfa(refinement=refinement, depths=(1, 2, 1, 1))
    tensors = published(network)
    loaded = from_official(tensors | {name: torch.zeros(1) for name in UNUSED})
    assert isinstance(loaded, MrcfaSegmentor)
    assert loaded.config() == network.config()
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    assert len(network.state_dict()) == sum(len(names) for names in mrcfa_names(network.config()).values())


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("decode_head.sr2.bias", None, "missing decode_head.sr2.bias"),
        ("decode_head.hypercorre_module.q1.weight", torch.zeros(3, 3), r"q1.weight is \(3, 3\)"),
        ("decode_head.extra", torch.zeros(1), "unknown decode_head.extra"),
        ("backbone.norm4.weight", None, "without backbone.norm4.weight"),
        ("backbone.block2.0.attn.kv.bias", torch.zeros(8), r"kv.bias is \(8,\)"),
    ],
)
def test_other_tensors_are_refused(name: str, value: Tensor | None, message: str) -> None:
    tensors = published(tiny_mrcfa()) | {name: value}
    with pytest.raises(ValueError, match=message):
        from_official({key: tensor for key, tensor in tensors.items() if tensor is not None})


def golden_weights(file: Path) -> dict[str, Tensor]:
    tensors = {}
    for name, entry in json.loads(file.read_text()).items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(0)
            continue
        shape = tuple(entry["shape"])
        values = keyed(name).standard_normal(shape).astype(np.float32)
        if name.endswith(".running_mean"):
            values = 0.1 * values
        elif name.endswith(".running_var") or (len(shape) == 1 and name.endswith(".weight")):
            values = 1 + 0.1 * (np.abs(values) if name.endswith(".running_var") else values)
        else:
            values = 0.05 * values if len(shape) == 1 else values * float(np.sqrt(1 / np.prod(shape[1:])))
        assert zlib.crc32(values.tobytes()) == entry["crc32"], name
        tensors[name] = torch.from_numpy(values)
    return tensors


class Golden(NamedTuple):
    network: MrcfaSegmentor
    frames: Tensor
    arrays: dict[str, Tensor]


@pytest.fixture(scope="module", params=["b0", "b1", "b2"])
def golden(request: pytest.FixtureRequest, goldens: Path) -> Golden:
    folder = goldens / "mrcfa"
    network = from_official(golden_weights(folder / f"state_dict_{request.param}.json"))
    assert isinstance(network, MrcfaSegmentor)
    frames = [keyed(f"mrcfa/64x96/frame{t}").integers(0, 256, (3, 64, 96)).astype(np.uint8) for t in range(4)]
    arrays = np.load(folder / f"mrcfa_{request.param}_64x96.npz")
    return Golden(
        network.eval(), torch.from_numpy(np.stack(frames))[None], {name: torch.from_numpy(arrays[name]) for name in arrays}
    )


@torch.no_grad()
def test_golden_logits(golden: Golden) -> None:
    outputs = golden.network.training_outputs(golden.frames)
    for number, name in enumerate(("aux_logits_ref0", "aux_logits_ref1", "aux_logits_ref2", "logits")):
        torch.testing.assert_close(outputs.clip_logits[0, number], golden.arrays[name], rtol=0, atol=2e-5)
    torch.testing.assert_close(outputs.frame_logits[0, 3], golden.arrays["logits_single"], rtol=0, atol=2e-5)


@torch.no_grad()
def test_golden_affinities(golden: Golden) -> None:
    network, arrays = golden.network, golden.arrays
    encoded = [network.encode(golden.frames[:, t]) for t in range(4)]
    found = network.affinities(encoded[3], [network.as_reference(one) for one in encoded[:3]])
    for number, scale in enumerate(found.scales):
        torch.testing.assert_close(scale[0], arrays[f"affinity_scale{number}"], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.scores[0], arrays["stm_score"], rtol=0, atol=1e-3)
    assert torch.equal(torch.zeros(3, 6, dtype=torch.bool).scatter(1, found.kept[0], True), arrays["stm_mask"])
    attention = network.head.attention(found)[0].transpose(1, 2)
    torch.testing.assert_close(attention, arrays["attention"], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", ["b0", "b1", "b2", "b5"])
def test_every_published_tensor_has_a_place(goldens: Path, name: str) -> None:
    shapes = {
        key: tuple(entry["shape"])
        for key, entry in json.loads((goldens / "mrcfa" / f"state_dict_{name}.json").read_text()).items()
    }
    config = mrcfa_config(shapes)
    assert set(mrcfa_names(config)) == set(shapes) - set(UNUSED)
    assert (config["kept_share"], config["refinement"]) == (0.8 if name == "b0" else 0.5, "deep" if name == "b1" else "shallow")
