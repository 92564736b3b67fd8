# ImageNet-21k, 90 epochs.
#
# Published (DeiT III); 90 epochs for ViT-H only, 240 for others.
_base_ = './lamb_bs2048.py'
lr = 1e-3
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.02))
_base_.param_scheduler[0].start_factor = 1e-6 / lr
train_cfg = dict(max_epochs=90)
