"""Model wrappers."""

from . import heads  # noqa: F401  (registers them)
from .classifiers import CoTrainingImageClassifier, CoTrainingTimmClassifier
from .fold_norms import fold_norms
from .segmentors import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder

__all__ = [
    'CoTrainingCascadeEncoderDecoder',
    'CoTrainingEncoderDecoder',
    'CoTrainingImageClassifier',
    'CoTrainingTimmClassifier',
    'fold_norms',
]
