# The same at 160 pixels. Published (DeiT III).
_base_ = './imagenet_3augment.py'
_base_.train_pipeline[1].scale = 160
_base_.test_pipeline[1].scale = 182  # 160 / 0.875
_base_.test_pipeline[2].crop_size = 160
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
