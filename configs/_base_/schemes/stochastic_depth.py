# Ordinary training with stochastic depth, on the rows that keep a branch.
scheme = dict(type='mmcosub.StochasticDepth')
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
