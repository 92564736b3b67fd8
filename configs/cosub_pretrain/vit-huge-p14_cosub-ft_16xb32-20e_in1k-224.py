# ViT-H/14, pretrained at 160 pixels, fine-tuned at 224.
#
# Published (DeiT III). Ours: that it is fine-tuned by cosub, too.
_base_ = [
    '../_base_/models/vit-huge_classifier_softmax.py',
    '../_base_/datasets/imagenet_randaugment.py',
    '../_base_/schedules/adamw_1e-5_20e.py',
    '../_base_/schemes/cosub.py',
    '../_base_/default_runtime_classification.py',
]
model = dict(backbone=dict(layer_cfgs=dict(drop_path_rate=0.55)))
train_dataloader = dict(batch_size=32)
load_from = 'work_dirs/vit-huge-p14_cosub_32xb64-800e_in1k-160/epoch_800.pth'
