# ViT-B pretrained by MAE, fine-tuned on ImageNet-1k at 224 pixels, 100 epochs.
#
# Published (AugSub): the recipe, MAE's own (learning rate 5e-4 for 256 images, layer decay
# 0.65, drop path 0.1), whose config of MMPretrain is the base.
_base_ = [
    'mmpretrain::mae/benchmarks/vit-base-p16_8xb128-coslr-100e_in1k.py',
    '../_base_/schemes/augmask.py',
]
scheme = dict(lean=True)
# Of MMPretrain's own run of MAE. For another one: --backbone CHECKPOINT
mae = 'mae_vit-base-p16_8xb512-amp-coslr-1600e_in1k'
model = dict(backbone=dict(init_cfg=dict(checkpoint=f'work_dirs/{mae}/epoch_1600.pth')))
