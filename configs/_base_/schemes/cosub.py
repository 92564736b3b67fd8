# Submodel co-training (cosub, https://arxiv.org/abs/2212.04884): two submodels of one
# network see every image; each learns from the label and from the other.
#
# The rates are the backbone's own (`drop_path_rate`) unless given here, for instance
# `scheme.drop_path_rate=0.1 scheme.drop_path_decay=constant`.
scheme = dict(type='mmcosub.Cosub', weight=0.5, temperature=1.0)
runner_type = 'mmcosub.CoTrainingRunner'

# So that MMEngine's Runner.from_cfg(cfg) respects the scheme, too.
__import__('mmcosub.engine')
