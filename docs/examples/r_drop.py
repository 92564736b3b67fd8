"""R-Drop (https://arxiv.org/abs/2106.14448) as a scheme of one's own."""

from mmcosub.losses import weighted_mean
from mmcosub.schemes import SCHEMES, Scheme


@SCHEMES.register_module()
class RDrop(Scheme):
    """Two passes under dropout and drop path, kept close by a symmetric KL.

    Args:
        alpha (float): Weight of the divergence. Defaults to 1.
        **kwargs: Arguments of ``Scheme``.
    """

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha

    @property
    def label_weights(self):
        return [0.5, 0.5]  # both views see the label

    @property
    def teachings(self):
        return []  # nobody's target stands still: see below

    def check(self, sites):
        """Views differ by dropout, too, so rates of 0 are no error."""

    def student_loss(self, student, logits, weight=None):
        views = logits[student], logits[1 - student]
        p, q = (z.float().log_softmax(dim=1) for z in views)
        # Gradient flows into both, unlike in cosub.
        divergence = (p.exp() * (p - q)).sum(dim=1) / 2
        return self.alpha * self.ramp * weighted_mean(divergence, weight)
