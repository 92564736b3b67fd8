"""Counting what a device would be asked to do, without one."""

from collections import Counter
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

# Operations that only make a tensor or look at one.
_NO_KERNEL = {
    '_unsafe_view', 'detach', 'empty', 'empty_like', 'empty_strided', 'lift_fresh',
    'new_empty', 'promote_types',
}  # fmt: skip


class Kernels(TorchDispatchMode):
    """Counts operations that launch a kernel at least; views and allocation do not."""

    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if not (func.is_view or name in _NO_KERNEL):
            self.names[name] += 1
        return func(*args, **(kwargs or {}))

    @property
    def total(self) -> int:
        """Number of all."""
        return sum(self.names.values())
