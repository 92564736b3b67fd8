_base_ = [
    '../upernet/vit-small-p16_upernet_8xb2-160k_ade20k-512x512.py',
    '../_base_/schemes/augpath.py',
]
scheme = dict(lean=True)
