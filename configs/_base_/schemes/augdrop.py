# AugSub with dropout: the network teaches itself under dropout of `ratio`.
scheme = dict(type='mmcosub.AugDrop', ratio=0.5)
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
