# ResNet-50 on ImageNet-1k at 224 pixels, 300 epochs.
#
# Published (AugSub): LAMB 5e-3, weight decay 0.02, drop path 0.05, repeated augmentation,
# rand-m7, mixup 0.1, cutmix 1, binary cross-entropy, batch 2048, as in "ResNet strikes
# back", whose config of MMPretrain is the base. Ours: this method over it, and its
# binary form.
_base_ = [
    'mmpretrain::resnet/resnet50_8xb256-rsb-a2-300e_in1k.py',
    '../_base_/schemes/gkt.py',
]
model = dict(head=dict(loss=dict(_delete_=True, type='mmcosub.BinaryCrossEntropyLoss')))
