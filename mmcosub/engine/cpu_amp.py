from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.runner import autocast
from torch import nn


class CPUAmpOptimWrapper(OptimWrapper):
    """CPU counterpart of MMEngine's ``AmpOptimWrapper``, in bfloat16.

    MMEngine's wrapper does not run on CPUs. bfloat16 has the range of float32 and needs
    no loss scaling.

    Args:
        loss_scale (Any): Ignored. Defaults to None.
        dtype (Any): Ignored: always bfloat16. Defaults to None.
        use_fsdp (bool): Ignored. Defaults to False.
        **kwargs: Arguments of ``OptimWrapper``.
    """

    def __init__(
        self,
        loss_scale: Any = None,
        dtype: Any = None,
        use_fsdp: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Add autocast to bfloat16."""
        with super().optim_context(model), autocast('cpu', dtype=torch.bfloat16):
            yield

    def load_state_dict(self, state_dict: dict) -> None:
        """Load a state, also that of a run on a GPU.

        Args:
            state_dict (dict): State of this or MMEngine's ``AmpOptimWrapper``.
        """
        state_dict.pop('loss_scaler', None)
        super().load_state_dict(state_dict)
