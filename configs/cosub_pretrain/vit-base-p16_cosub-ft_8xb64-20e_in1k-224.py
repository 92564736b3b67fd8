# ViT-B, pretrained at 192 pixels, fine-tuned at 224.
#
# Published (DeiT III). Ours: that it is fine-tuned by cosub, too.
_base_ = [
    '../_base_/models/vit_classifier_softmax.py',
    '../_base_/datasets/imagenet_randaugment.py',
    '../_base_/schedules/adamw_1e-5_20e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(
    backbone=dict(arch='base', layer_cfgs=dict(drop_path_rate=0.2)),
    head=dict(in_channels=768),
)
load_from = 'work_dirs/vit-base-p16_cosub_8xb256-800e_in1k-192/epoch_800.pth'
