from torch import Tensor

from mmcosub.losses import SOFT_LOSSES


class SoftLoss:
    """Distillation loss of a view against its teacher.

    Args:
        name (str): 'ce' (softmax), 'kl' (the same gradients, 0 where views agree),
            'bce' (sigmoid), or 'auto' to choose by the model's label loss. Defaults to
            'auto'.
        temperature (float): Divisor of logits, above 0. Defaults to 1.
        softmax (str): Loss that 'auto' chooses for a softmax, 'ce' or 'kl'. Defaults to
            'ce'.

    Raises:
        ValueError: If an argument is out of its range, naming the valid ones.
    """

    def __init__(
        self, name: str = 'auto', temperature: float = 1.0, softmax: str = 'ce'
    ) -> None:
        if name not in ('auto', *SOFT_LOSSES):
            raise ValueError(
                f'Unknown loss {name!r}. Valid ones: {["auto", *SOFT_LOSSES]}.'
            )
        if not temperature > 0:
            raise ValueError(f'The temperature must be above 0, not {temperature}.')
        self.name = name
        self.temperature = temperature
        self.softmax = softmax
        self.function = SOFT_LOSSES[softmax if name == 'auto' else name]

    @property
    def activation(self) -> str:
        """Function that turns logits into probabilities, 'softmax' or 'sigmoid'."""
        return 'sigmoid' if self.function is SOFT_LOSSES['bce'] else 'softmax'

    def fit(self, activations: set[str], where: str) -> None:
        """Choose the loss by the label loss, or raise if the chosen one does not fit.

        Args:
            activations (set[str]): 'softmax', 'sigmoid', both or neither: activations
                of the label loss.
            where (str): Setting that decides them, for the error.

        Raises:
            ValueError: If the named soft loss has the other activation.
        """
        if self.name == 'auto':
            binary = activations == {'sigmoid'}
            self.function = SOFT_LOSSES['bce' if binary else self.softmax]
            return
        needed = self.activation
        if activations and needed not in activations:
            better = 'bce' if needed == 'softmax' else self.softmax
            raise ValueError(
                f'scheme.loss={self.name!r} uses a {needed}, but {where} uses a '
                f'{"".join(activations)}, so the distillation targets would not be '
                f'the predictions. Set scheme.loss={better!r} or leave it out '
                "('auto')."
            )

    def __call__(
        self, student: Tensor, teacher: Tensor, temperature: float | None = None
    ) -> Tensor:
        """Return the loss at every position.

        Args:
            student (Tensor): Logits of shape (B, C, *).
            teacher (Tensor): Logits of shape (B, C, *), without gradient.
            temperature (float, optional): Temperature of this call. Defaults to None,
                the loss's own.

        Returns:
            Tensor: Of shape (B, *).
        """
        if temperature is None:
            temperature = self.temperature
        return self.function(student, teacher, temperature)
