# The same at 192 pixels. Published (DeiT III).
_base_ = './imagenet_3augment.py'
_base_.train_pipeline[1].scale = 192
_base_.test_pipeline[1].scale = 219  # 192 / 0.875
_base_.test_pipeline[2].crop_size = 192
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
