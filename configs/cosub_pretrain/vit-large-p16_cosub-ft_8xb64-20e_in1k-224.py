# ViT-L, pretrained at 192 pixels, fine-tuned at 224.
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
    backbone=dict(arch='large', layer_cfgs=dict(drop_path_rate=0.45)),
    head=dict(in_channels=1024),
)
load_from = 'work_dirs/vit-large-p16_cosub_32xb64-800e_in1k-192/epoch_800.pth'
