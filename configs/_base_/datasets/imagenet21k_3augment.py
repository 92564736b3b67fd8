# ImageNet-21k, 21,841 classes, at 224 pixels, 64 images a GPU.
#
# Published (DeiT III): the training pipeline, which is that of fine-tuning. Ours: `val`,
# some images held out of every class. Both folders need all the class folders, as labels
# go by their sorted names.
_base_ = './imagenet_crop_3augment.py'
data_root = 'data/imagenet21k'
num_classes = 21841
data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(data_root=data_root))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
