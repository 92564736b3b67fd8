"""Model wrappers."""

from . import heads  # noqa: F401  (registers them)
from .classifiers import CoTrainingImageClassifier, CoTrainingTimmClassifier
from .fold_norms import fold_norms
from .segmentors import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder
from .streamed_tta import StreamedSegTTAModel

__all__ = [
    'CoTrainingCascadeEncoderDecoder',
    'CoTrainingEncoderDecoder',
    'CoTrainingImageClassifier',
    'CoTrainingTimmClassifier',
    'StreamedSegTTAModel',
    'fold_norms',
]
