# ViT-L pretrained by MAE, fine-tuned on ImageNet-1k at 224 pixels, 50 epochs.
#
# Published (AugSub): the recipe, MAE's own (learning rate 1e-3 for 256 images, layer decay
# 0.75, drop path 0.2), whose config of MMPretrain is the base.
_base_ = [
    'mmpretrain::mae/benchmarks/vit-large-p16_8xb128-coslr-50e_in1k.py',
    '../_base_/schemes/augmask.py',
]
scheme = dict(lean=True)
# Of MMPretrain's own run of MAE. For another one: --backbone CHECKPOINT
mae = 'mae_vit-large-p16_8xb512-amp-coslr-1600e_in1k'
model = dict(backbone=dict(init_cfg=dict(checkpoint=f'work_dirs/{mae}/epoch_1600.pth')))
