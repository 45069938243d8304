from pathlib import Path

import pytest
import torch

from src.data.datamodule import PairDataModule
from src.data.pairs.sampling import TripletSampling
from src.data.samples import PairBatch
from src.losses.fusion import FusionLoss
from src.models.propagator import Propagator
from src.ops.masks import semantic_map
from src.training.fusion_stage import FusionStage
from src.training.module import PropagationModule
from src.training.optim import AdamWPoly
from src.weights.model_folder import load_model, save_model
from tests.inference.tiny import CLASSES, FakeClips, tiny_propagator
from tests.training.tiny_batch import tiny_batch
from tests.training.tiny_fit import tiny_trainer


def model_with_head(flow: str = "dis") -> Propagator:
    model = tiny_propagator(flow)
    model.flow.add_fusion_head(8)
    model.set_trainable(["flow.fusion"])
    return model


def triplets() -> PairBatch:
    batch = tiny_batch()
    after = torch.roll(batch.nonkey_image, 4, -1)
    after[..., :20, :] = 255 - after[..., :20, :]
    return batch._replace(after_image=after, after_offset=torch.tensor([2, 1]))


@pytest.mark.parametrize("flow", ["dis", "query", "correlation"])
def test_only_the_head_gets_a_gradient_and_all_of_it(flow: str) -> None:
    model = model_with_head(flow)
    head = model.flow.fusion
    assert head is not None
    # The last layer starts at 0, which holds back the gradient of the others.
    torch.nn.init.normal_(head.layers[-1].weight)
    terms = FusionStage(FusionLoss(256)).losses(model, triplets())
    assert set(terms) == {"fused"}
    torch.stack(list(terms.values())).sum().backward()
    inside = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert inside == {f"flow.fusion.{name}" for name, _ in head.named_parameters()}
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="has one key frame; expected two, before and after the frame; choose triplets"):
        FusionStage(FusionLoss(256)).losses(model_with_head(), tiny_batch())


def test_validation_fuses_both_key_frames() -> None:
    model, batch = model_with_head(), triplets()
    outcome = FusionStage(FusionLoss()).predict(model, batch)
    assert outcome.nonkey.shares is not None and outcome.nonkey.shares.shape[1] == 2
    assert outcome.key is not None and outcome.key.queries.shape[1] * 2 == outcome.nonkey.queries.shape[1]
    assert outcome.flow is not None
    assert not torch.equal(semantic_map(outcome.nonkey), semantic_map(outcome.key))


def test_steps_reduce_the_loss() -> None:
    model, batch = model_with_head(), triplets()
    stage, optimizer = FusionStage(FusionLoss(512)), torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-2)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        total = torch.stack(list(stage.losses(model, batch).values())).sum()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("flow", ["dis", "query"])
def test_a_saved_head_is_loaded(flow: str, tmp_path: Path) -> None:
    model = model_with_head(flow)
    torch.nn.init.normal_(model.flow.fusion.layers[-1].weight)  # type: ignore[union-attr, arg-type]
    save_model(model, tmp_path / "model", {"stage": "fusion"})
    loaded, metadata = load_model(tmp_path / "model")
    assert metadata == {"stage": "fusion"} and loaded.flow.fusion is not None
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    def fit(folder: Path, checkpoint: Path | None) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model, data = model_with_head(), TripletSampling(4)
        module = PropagationModule(model, FusionStage(FusionLoss(64)), AdamWPoly(lr=1e-2), len(CLASSES), {}, 0)
        pairs = PairDataModule(FakeClips(), FakeClips(), data, data, None, None, batch_size=1, num_workers=0, max_steps=4,
                               val_samples=2, seed=0)  # fmt: skip
        tiny_trainer(folder, 4, 2).fit(module, datamodule=pairs, ckpt_path=checkpoint)
        return {name: value.clone() for name, value in model.state_dict().items()}

    whole = fit(tmp_path / "whole", None)
    resumed = fit(tmp_path / "resumed", next((tmp_path / "whole").glob("*2.ckpt")))
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert whole["flow.fusion.layers.4.weight"].any()
