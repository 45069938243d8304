import pickle
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from src.data.datamodule import PairDataModule, ResumableBatches
from src.data.datasets.vspw import VSPW
from src.data.pairs.color_jitter import ColorJitter
from src.data.pairs.sampling import FixedOffsetSampling, TripletSampling, UniformSampling
from src.data.pairs.transforms import PairTransform, RandomCrop
from src.files.images.readers import CorruptFileError
from tests.data.fake_layouts import write_vspw

STEPS, BATCH = 6, 2
TRIPLETS = {"train_sampling": TripletSampling(4), "val_sampling": TripletSampling(3)}


@pytest.fixture
def make_module(tmp_path):
    write_vspw(tmp_path, {"a": [f"{i:03d}" for i in range(8)], "b": [f"{i:03d}" for i in range(5)]})
    data = VSPW(tmp_path, "train", num_classes=8)

    def make(seed=0, num_workers=0, **changes):
        arguments = {
            "train": data,
            "val": data,
            "max_steps": STEPS,
            "val_samples": 5,
            "train_transform": RandomCrop((8, 8)),
            "train_sampling": UniformSampling(4),
            "val_sampling": FixedOffsetSampling(-2),
        } | changes
        return PairDataModule(
            **arguments,
            eval_transform=None,
            batch_size=BATCH,
            num_workers=num_workers,
            seed=seed,
        )

    return make


def attach(module, rank=0, world=1, step=0, accumulate=1):
    module.trainer = SimpleNamespace(global_rank=rank, world_size=world, global_step=step, accumulate_grad_batches=accumulate)
    return module


def content(batch):
    """Numbers that change with the frames, and with the offsets of triplets."""
    images = [
        batch.key_image,
        batch.nonkey_image,
        *([] if batch.after_image is None else [batch.after_image, batch.after_offset]),
    ]
    return [int(image.sum()) for image in images]


class Recorder(L.LightningModule):
    """Records the samples of training and validation."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen, self.validated = [], []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.global_step, batch.sample_id.tolist(), batch.names, content(batch)))
        return self.weight * batch.nonkey_image.float().mean()

    def validation_step(self, batch, batch_idx):
        self.validated.extend(batch.names)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(module, folder, accumulate=1, checkpoint=None):
    recorder = Recorder()
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=STEPS,
        accumulate_grad_batches=accumulate,
        val_check_interval=2 * accumulate,
        check_val_every_n_epoch=None,
        callbacks=[
            ModelCheckpoint(folder, filename="{step}", auto_insert_metric_name=False, every_n_train_steps=3, save_top_k=-1)
        ],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=1,
    )
    trainer.fit(recorder, module, ckpt_path=checkpoint, weights_only=False)
    return recorder, trainer


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("accumulate, sampling", [(1, {}), (2, {}), (1, TRIPLETS)])
def test_a_resumed_run_reads_the_samples_of_the_uninterrupted_run(make_module, tmp_path, accumulate, sampling):
    whole, _ = fit(make_module(**sampling), tmp_path / "whole", accumulate)
    assert [i for _, ids, _, _ in whole.seen for i in ids] == list(range(STEPS * accumulate * BATCH))
    rest, trainer = fit(make_module(**sampling), tmp_path / "rest", accumulate, checkpoint=tmp_path / "whole" / "3.ckpt")
    assert trainer.global_step == STEPS
    assert rest.seen == whole.seen[3 * accumulate :]
    assert torch.equal(rest.weight, whole.weight)
    assert len(set(whole.validated[1:6])) == 5
    assert whole.validated[1:] == whole.validated[1:6] * 3
    assert all(("<-" in name) == bool(sampling) for name in (*whole.validated, *whole.seen[0][2]))


def test_ranks_share_each_step_as_one_process_would(make_module):
    whole = [ids for ids in ResumableBatches(6, 4, 0, 1, lambda: 0)]
    shares = [list(ResumableBatches(6, 2, rank, 2, lambda: 0)) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == whole
    validated = [attach(make_module(), rank, world=2).val_dataloader() for rank in range(2)]
    assert sorted(i for loader in validated for batch in loader for i in batch.sample_id.tolist()) == list(range(5))


def test_fewer_validation_pairs_than_ranks_are_an_error(make_module):
    for rank in range(3):
        with pytest.raises(ValueError, match=r"data\.val_samples=2 for 3 processes; expected at least one pair for each"):
            attach(make_module(val_samples=2), rank, world=3).val_dataloader()


def test_the_length_is_that_of_the_whole_run_at_any_step(make_module):
    loader = attach(make_module(), rank=1, world=2, step=4, accumulate=3).train_dataloader()
    assert len(loader) == STEPS * 3
    batches = list(loader)
    assert len(batches) == (STEPS - 4) * 3
    assert batches[0].sample_id.tolist() == [4 * 3 * 2 * BATCH + BATCH + i for i in range(BATCH)]


def test_validation_pairs_do_not_depend_on_the_seed_and_training_pairs_do(make_module):
    def names(seed, loader):
        return [batch.names for batch in getattr(attach(make_module(seed)), loader)()]

    assert names(0, "val_dataloader") == names(1, "val_dataloader")
    assert names(0, "train_dataloader") != names(1, "train_dataloader")


@pytest.mark.filterwarnings("ignore:This process")
def test_worker_processes_read_the_samples_of_the_main_process(make_module):
    plain, workers = (list(attach(make_module(num_workers=n)).train_dataloader()) for n in (0, 2))
    for one, two in zip(plain, workers, strict=True):
        assert one.names == two.names
        assert torch.equal(one.key_image, two.key_image) and torch.equal(one.nonkey_label, two.nonkey_label)
        assert two.key_image.is_shared() and two.key_image.stride() == one.key_image.stride()
    one, two = ([content(b) for b in attach(make_module(num_workers=n, **TRIPLETS)).train_dataloader()] for n in (0, 2))
    assert one == two and all(len(batch) == 4 for batch in one)
    # Some platforms start workers by pickling.
    pairs = pickle.loads(pickle.dumps(attach(make_module()).train_dataloader().dataset))
    assert torch.equal(pairs[0].sample.key_image, plain[0].key_image[0])


@pytest.mark.parametrize("sampling", [{}, TRIPLETS], ids=["pairs", "triplets"])
def test_any_number_of_workers_and_ranks_replaces_the_same_samples(make_module, tmp_path, sampling):
    damaged = sorted((tmp_path / "data").glob("*/origin/*3.jpg"))
    assert damaged
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-40])

    def read(rank, world, **changes):
        module = attach(make_module(on_corrupt="skip", **sampling, **changes), rank=rank, world=world)
        return [(b.sample_id.tolist(), b.names, b.skipped, content(b)) for b in module.train_dataloader()]

    alone = read(0, 1, max_steps=2 * STEPS)
    assert any(skipped for _, _, skipped, _ in alone) and alone == read(0, 1, max_steps=2 * STEPS, num_workers=2)
    first, second = read(0, 2), read(1, 2)
    assert [batch for both in zip(first, second, strict=True) for batch in both] == alone
    # Validation pairs are never replaced.
    with pytest.raises(CorruptFileError):
        list(attach(make_module(on_corrupt="skip", val_samples=40, **sampling)).val_dataloader())


def test_bad_arguments_are_refused(make_module, tmp_path):
    other = VSPW(tmp_path, "train", num_classes=9)
    with pytest.raises(ValueError, match="train has 8 classes, val 9"):
        make_module(val=other)
    with pytest.raises(ValueError, match="max_steps=0"):
        make_module(max_steps=0)
    with pytest.raises(RuntimeError, match="has no trainer"):
        make_module().train_dataloader()


def test_steps_for_the_device_are_applied_only_in_training(make_module):
    module = make_module(seed=5, train_transform=PairTransform([RandomCrop((8, 8)), ColorJitter(where="device")]))
    batch = next(iter(attach(module).train_dataloader()))
    module.trainer.training = False
    untouched = module.on_after_batch_transfer(batch, 0)
    assert torch.equal(untouched.key_image, batch.key_image) and untouched.key_image.is_contiguous()
    assert batch.nonkey_label.dtype == torch.uint8 and untouched.nonkey_label.dtype == torch.int64
    assert torch.equal(untouched.nonkey_label, batch.nonkey_label.long())
    module.trainer.training = True
    changed = module.on_after_batch_transfer(batch, 0)
    assert torch.equal(changed.key_image, ColorJitter(where="device").apply_to_batch(batch, 5).key_image)
    module.train_transform = PairTransform([RandomCrop((8, 8)), ColorJitter()])
    assert torch.equal(module.on_after_batch_transfer(batch, 0).key_image, batch.key_image)
