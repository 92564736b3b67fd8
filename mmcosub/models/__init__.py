"""Model wrappers."""

from .classifiers import CoTrainingImageClassifier
from .segmentors import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder

__all__ = [
    'CoTrainingCascadeEncoderDecoder',
    'CoTrainingEncoderDecoder',
    'CoTrainingImageClassifier',
]
