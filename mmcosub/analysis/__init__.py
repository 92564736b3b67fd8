"""Looking at what a trained network's submodels can do."""
