from typing import Any

from mmengine.dist import get_rank
from mmengine.runner import FlexibleRunner
from mmengine.runner.base_loop import BaseLoop

from mmcosub.checkpoints import use_reader
from mmcosub.registry import RUNNERS, SCHEMES

from .co_train import co_trained_model
from .counted_seeds import count_batches
from .errors import note_moment
from .loops import resumable
from .seed_hook import IterationSeedHook


@RUNNERS.register_module()
class CoTrainingFlexibleRunner(FlexibleRunner):
    """MMEngine's ``FlexibleRunner``, training by the config's ``scheme`` if it has one.

    So schemes go with its strategies: FSDP, DeepSpeed, gradient accumulation under
    them. Checkpoints are the strategy's own, written as MMEngine does.

    Args:
        **kwargs: Arguments of ``FlexibleRunner``.

    Raises:
        ValueError: If the scheme is lean: strategies have one backward pass a step.
    """

    def __init__(self, **kwargs: Any) -> None:
        cfg = kwargs.get('cfg') or {}
        self._scheme = cfg.get('scheme') if kwargs.get('train_cfg') else None
        use_reader(bool(cfg.get('trust_checkpoint', False)))
        if self._scheme and isinstance(kwargs['model'], dict):
            if self._scheme.get('lean'):
                raise ValueError(
                    'scheme.lean=True runs backward once a view, and a strategy once a '
                    'step: leave scheme.lean out, or train without `strategy`.'
                )
            kwargs['model'] = co_trained_model(kwargs['model'], self._scheme)
        super().__init__(**kwargs)

    def register_hooks(
        self, default_hooks: dict | None = None, custom_hooks: list | None = None
    ) -> None:
        """Register the config's hooks and those of ours that it does not name.

        Args:
            default_hooks (dict, optional): Config of default hooks.
            custom_hooks (list, optional): Configs of further hooks.
        """
        super().register_hooks(default_hooks, custom_hooks)
        self.register_hook(IterationSeedHook())
        ours = ['NonFiniteLossHook']
        if self._scheme:
            ours.append('CoTrainingLossHook')
            if SCHEMES.get(self._scheme['type']).changes_statistics:
                ours.append('FullNetworkBNHook')
        present = {type(hook).__name__ for hook in self._hooks}
        for name in ours:
            if name not in present:
                self.register_hook(dict(type=f'mmcosub.{name}'))

    def build_train_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Build the training loop, which can go on where it was.

        Args:
            loop (BaseLoop | dict): A loop or its config.
        """
        built: Any = super().build_train_loop(
            resumable(loop) if isinstance(loop, dict) else loop
        )
        count_batches(built.dataloader, self.seed, get_rank(), lambda: built.iter)
        return built

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call all hooks, and note how far the run has come.

        Args:
            fn_name (str): The moment.
            **kwargs: What hooks get.
        """
        if fn_name.startswith('before'):
            note_moment(fn_name)
        super().call_hook(fn_name, **kwargs)
        if fn_name.startswith('after'):
            note_moment(fn_name)
