"""What models cost, and what the submodels of a trained one can do."""
