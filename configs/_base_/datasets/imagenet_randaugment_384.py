# The same at 384 pixels, 32 images a GPU. Ours: evaluated on the centre of the whole image.
_base_ = './imagenet_randaugment.py'
_base_.train_pipeline[1].scale = 384
_base_.test_pipeline[1].scale = 384
_base_.test_pipeline[2].crop_size = 384
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=_base_.train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=_base_.test_pipeline))
test_dataloader = val_dataloader
