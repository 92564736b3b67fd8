# Swin-T on ImageNet-1k at 224 pixels, 300 epochs.
#
# Published: the recipe, Swin's own (300 epochs, batch 1024), which AugSub keeps.
_base_ = [
    'mmpretrain::swin_transformer/swin-tiny_16xb64_in1k.py',
    '../_base_/schemes/augpath.py',
]
scheme = dict(lean=True)
