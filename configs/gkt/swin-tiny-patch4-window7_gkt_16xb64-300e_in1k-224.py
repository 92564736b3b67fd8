# Swin-T on ImageNet-1k at 224 pixels, 300 epochs.
#
# Published: the recipe, Swin's own. Ours: this method over it.
_base_ = [
    'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
    '../_base_/schemes/gkt.py',
]
