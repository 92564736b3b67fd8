_base_ = [
    'convnext-base_upernet_8xb2-160k_ade20k-512x512.py',
    '../_base_/schemes/cosub.py',
]
