"""Model wrappers."""

from .segmentors import CoTrainingCascadeEncoderDecoder, CoTrainingEncoderDecoder

__all__ = ['CoTrainingCascadeEncoderDecoder', 'CoTrainingEncoderDecoder']
