"""Costs of models, and accuracy and uncertainty of submodels."""
