import copy
import pickle

import pytest
from torch.utils.data import BatchSampler, SequentialSampler

from mmcosub.resuming.seeding import SeededBatches


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
