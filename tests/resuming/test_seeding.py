import copy
import pickle

import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    SequentialSampler,
    Subset,
)

from mmcosub.resuming.seeding import SeededBatches, seed_batches


@pytest.mark.parametrize(
    'copied',
    [copy.copy, copy.deepcopy, lambda batches: pickle.loads(pickle.dumps(batches))],
)
def test_copies_of_batches(copied) -> None:
    batches = BatchSampler(SequentialSampler(range(4)), 2, drop_last=False)
    again = copied(SeededBatches(batches, [].__len__))
    assert [*again] == [[0, 1], [2, 3]]
    assert again.batch_size == 2
    assert not hasattr(again, 'none_such')


class Noise(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> torch.Tensor:
        return index + torch.rand(())


@pytest.mark.parametrize('dataset', [Noise(), Subset(Noise(), [3, 2, 1, 0])])
def test_every_sample_has_a_seed_of_its_own(dataset: Dataset) -> None:
    """Also where a dataset loads whole batches, as a subset does."""
    loader = DataLoader(dataset, batch_size=2)
    seed_batches(loader, 7, lambda: 0)
    torch.manual_seed(1)
    first = [*loader]
    torch.manual_seed(2)
    assert torch.equal(torch.stack([*loader]), torch.stack(first))
    assert sorted(torch.cat(first).int().tolist()) == [0, 1, 2, 3]
