_base_ = [
    './swin-mini_upernet_1xb8-500_digit-scenes-128x128.py',
    '../_base_/schemes/cosub.py',
]
