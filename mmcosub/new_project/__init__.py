"""A first config for a folder of images and one of masks."""

_SWIN = 'swin/swin-{}_upernet_8xb2-160k_ade20k-512x512.py'
_CONVNEXT = 'convnext/convnext-{}_upernet_8xb2-amp-160k_ade20k-512x512.py'
_DEIT = 'https://dl.fbaipublicfiles.com/deit/deit_{}.pth'

MODELS = {
    **{
        f'segformer-b{i}': f'segformer/segformer_mit-b{i}_8xb2-160k_ade20k-512x512.py'
        for i in range(6)
    },
    'upernet-swin-t': _SWIN.format('tiny-patch4-window7-in1k-pre'),
    'upernet-swin-s': _SWIN.format('small-patch4-window7-in1k-pre'),
    'upernet-swin-b': _SWIN.format('base-patch4-window7-in22k-pre'),
    'upernet-swin-l': _SWIN.format('large-patch4-window7-in22k-pre'),
    'upernet-vit-s': 'vit/vit_deit-s16_upernet_8xb2-160k_ade20k-512x512.py',
    'upernet-vit-b': 'vit/vit_deit-b16_upernet_8xb2-160k_ade20k-512x512.py',
    'upernet-convnext-t': _CONVNEXT.format('tiny'),
    'upernet-convnext-s': _CONVNEXT.format('small'),
    'upernet-convnext-b': _CONVNEXT.format('base'),
    'upernet-r50': 'upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
    'upernet-r101': 'upernet/upernet_r101_4xb4-160k_ade20k-512x512.py',
}
"""Upstream config with pretrained weights, by name."""

WEIGHTS = {
    'upernet-vit-s': _DEIT.format('small_patch16_224-cd65a155'),
    'upernet-vit-b': _DEIT.format('base_patch16_224-b5f2ef4d'),
}
"""Where the upstream config names a local file that it does not come with."""
