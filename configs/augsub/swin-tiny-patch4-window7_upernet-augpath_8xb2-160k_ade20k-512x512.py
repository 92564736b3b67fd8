_base_ = [
    '../upernet/swin-tiny-patch4-window7_upernet_8xb2-160k_ade20k-512x512.py',
    '../_base_/schemes/augpath.py',
]
scheme = dict(lean=True)
