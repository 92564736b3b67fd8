# Swin-B, fine-tuned at 224 pixels after ImageNet-21k, fine-tuned at 384.
#
# Ours: the settings, those of DeiT III for other steps up in resolution, and the
# drop-path rate.
# The window stays 7, so that the head and everything else can be kept; MMPretrain pads
# maps to a multiple of it.
_base_ = [
    '../_base_/models/swin_classifier_softmax.py',
    '../_base_/datasets/imagenet_randaugment_384.py',
    '../_base_/schedules/adamw_1e-5_20e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3, img_size=384),
    head=dict(in_channels=1024),
)
load_from = 'work_dirs/swin-base-patch4-window7-in21k-pre_cosub-ft_32xb64-50e_in1k-224/epoch_50.pth'
