import numpy as np


def evenly_spread(total: int, number: int) -> list[int]:
    """Return evenly spaced indices, the first and the last included.

    Args:
        total (int): How many things there are.
        number (int): How many places are wanted.
    """
    return np.linspace(0, total - 1, number).round().astype(int).tolist()
