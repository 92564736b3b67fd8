# AugSub with masking: the network teaches itself on images masked by `ratio`.
scheme = dict(type='mmcosub.AugMask', ratio=0.5)
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
