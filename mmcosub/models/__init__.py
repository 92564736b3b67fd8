"""Model wrappers."""

from . import heads  # noqa: F401  (registers them)
from .classifiers import CoTrainingImageClassifier, CoTrainingTimmClassifier
from .compiling import compile_parts
from .fold_norms import fold_norms
from .segmentors import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder
from .streamed_tta import StreamedSegTTAModel

__all__ = [
    'CoTrainingCascadeEncoderDecoder',
    'CoTrainingEncoderDecoder',
    'CoTrainingImageClassifier',
    'CoTrainingTimmClassifier',
    'StreamedSegTTAModel',
    'compile_parts',
    'fold_norms',
]
