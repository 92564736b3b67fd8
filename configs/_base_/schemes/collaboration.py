# Intra-model collaboration, in any of its four ways.
scheme = dict(type='mmcosub.Collaboration', output=1.0, intermediate=0.5)
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
