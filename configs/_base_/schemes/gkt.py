# Group knowledge: nested subnets, each group taught by the one above it.
scheme = dict(type='mmcosub.GroupKnowledge')
runner_type = 'mmcosub.CoTrainingRunner'
