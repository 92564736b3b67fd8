import torch
from torch import nn


class MaskToken(nn.Module):
    """A learned token that stands for what is masked.

    Args:
        channels (int): Number of channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(channels))
        nn.init.trunc_normal_(self.value, std=0.02)
