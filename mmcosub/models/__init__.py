"""Model wrappers."""

from .classifiers import CoTrainingImageClassifier, CoTrainingTimmClassifier
from .segmentors import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder

__all__ = [
    'CoTrainingCascadeEncoderDecoder',
    'CoTrainingEncoderDecoder',
    'CoTrainingImageClassifier',
    'CoTrainingTimmClassifier',
]
