# ViT-B, fine-tuned at 224 pixels after ImageNet-21k, fine-tuned at 448.
#
# Published: 87.4 % at this resolution, but not how. Ours: the settings, those of DeiT
# III for other steps up in resolution, and the drop-path rate.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet_randaugment_448.py',
    '../_base_/schedules/adamw_1e-5_20e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(arch='base', img_size=448, layer_cfgs=dict(drop_path_rate=0.15)),
    head=dict(in_channels=768),
)
load_from = 'work_dirs/vit-base-p16-in21k-pre_cosub-ft_32xb64-50e_in1k-224/epoch_50.pth'
