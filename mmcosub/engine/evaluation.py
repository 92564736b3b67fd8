from mmcosub.registry import RUNNERS

from .checkpoint import load_for_prediction, read_checkpoint
from .runner import CoTrainingRunner, unwrapped


@RUNNERS.register_module()
class EvaluationRunner(CoTrainingRunner):
    """Tests the stock model of a config, with all its weights from the checkpoint.

    Unlike MMEngine's runner it refuses a checkpoint that does not fit, and leaves the
    config that training has put into the work directory as it is.
    """

    trains = False

    def dump_config(self) -> None:
        """Leave the work directory's config alone: it is that of training."""

    def load_checkpoint(
        self, filename: str, map_location: str = 'cpu', **kwargs: object
    ) -> dict:
        """Load everything that the model predicts with.

        Args:
            filename (str): Checkpoint file or URL.
            map_location (str): Device of its tensors. Defaults to 'cpu'.
            **kwargs: Not used.

        Raises:
            ValueError: If it cannot be read or does not fit the model.
        """
        checkpoint = read_checkpoint(filename, map_location)
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)
        unused = load_for_prediction(unwrapped(self.model), checkpoint, filename)
        if unused:
            self.logger.warning(
                f'{filename} has {len(unused)} weights with no place in the model: '
                f'{", ".join(unused[:4])}{", ..." if len(unused) > 4 else ""}'
            )
        self._has_loaded = True
        self.logger.info(f'Loaded {filename}')
        return checkpoint
