# LAMB on batches of 2048 images; what is trained how long is in the files over it.
#
# Published (DeiT III): the optimizer (it clips the gradient's norm at 1 by itself), and
# that biases, norms, other vectors (LayerScale), the class token and position embeddings
# are not decayed. Ours: neither are the position tables of Swin nor what is instead of
# them in SwinV2, as in their own recipes.
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='mmpretrain.Lamb', eps=1e-8),
    paramwise_cfg=dict(
        bias_decay_mult=0.0,
        norm_decay_mult=0.0,
        flat_decay_mult=0.0,
        custom_keys={
            '.cls_token': dict(decay_mult=0.0),
            '.pos_embed': dict(decay_mult=0.0),
            '.relative_position_bias_table': dict(decay_mult=0.0),
            '.cpb_mlp': dict(decay_mult=0.0),
            '.logit_scale': dict(decay_mult=0.0),
        },
    ),
)
val_cfg = dict()
test_cfg = dict()
auto_scale_lr = dict(base_batch_size=2048)
