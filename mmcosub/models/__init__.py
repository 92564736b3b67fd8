"""Co-training wrappers of the models of mmseg, mmpretrain and timm."""

import mmcosub.fast.heads  # noqa: F401  (registers them)
from mmcosub import registry  # noqa: F401  (first, as it checks the stack)
from mmcosub.fast.convolutions import fold_norms

from .classifiers import CoTrainingImageClassifier, CoTrainingTimmClassifier
from .co_training import compile_parts
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
