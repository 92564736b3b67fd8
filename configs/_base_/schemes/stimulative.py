# Stimulative training: a subnet of the first blocks of each stage learns from the network.
scheme = dict(type='mmcosub.Stimulative')
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
