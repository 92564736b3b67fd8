# Group knowledge: nested subnets, each group taught by the one above it.
scheme = dict(type='mmcosub.GroupKnowledge')
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
