_base_ = [
    './vit-mini_upernet_1xb8-2k_digit-scenes-64x64.py',
    '../_base_/schemes/cosub.py',
]
