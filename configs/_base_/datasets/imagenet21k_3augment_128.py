# The same at 128 pixels. Published (DeiT III).
_base_ = './imagenet21k_3augment.py'
_base_.train_pipeline[1].scale = 128
_base_.train_pipeline[2].crop_size = 128
_base_.test_pipeline[1].scale = 146  # 128 / 0.875
_base_.test_pipeline[2].crop_size = 128
train_dataloader = dict(dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
