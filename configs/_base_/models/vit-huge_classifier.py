# The same, huge, with patches of 14 pixels.
#
# Published (DeiT III; its rate for 800 epochs). `padding=0` leaves the last pixels out
# where 14 does not divide the size, as theirs; MMPretrain pads.
_base_ = './vit_classifier.py'
model = dict(
    backbone=dict(
        arch='huge',
        patch_size=14,
        patch_cfg=dict(padding=0),
        layer_cfgs=dict(drop_path_rate=0.6),
    ),
    head=dict(in_channels=1280),
)
