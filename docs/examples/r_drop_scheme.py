custom_imports = dict(imports=['r_drop'], allow_failed_imports=False)
scheme = dict(type='RDrop', alpha=0.5)
runner_type = 'mmcosub.CoTrainingRunner'
