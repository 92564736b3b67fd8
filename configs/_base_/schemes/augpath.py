# AugSub with drop path: the network teaches itself under a drop-path rate of `ratio`.
scheme = dict(type='mmcosub.AugPath', ratio=0.5)
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
