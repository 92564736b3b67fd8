# Ordinary training with stochastic depth, on the rows that keep a branch.
scheme = dict(type='mmcosub.StochasticDepth')
runner_type = 'mmcosub.CoTrainingRunner'
