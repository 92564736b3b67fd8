"""Synthetic data: scenes of digits or fashion articles, and folders of images."""
