# ImageNet-1k, 800 epochs, large models. Published (DeiT III).
_base_ = './lamb_bs2048.py'
lr = 3e-3
optim_wrapper = dict(optimizer=dict(lr=lr, weight_decay=0.05))
_base_.param_scheduler[0].start_factor = 1e-6 / lr
train_cfg = dict(max_epochs=800)
