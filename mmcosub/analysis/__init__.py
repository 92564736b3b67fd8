"""Costs of models, accuracy of submodels, and where models err."""
