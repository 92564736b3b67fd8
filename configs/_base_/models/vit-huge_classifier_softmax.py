# The same with the label loss of ImageNet-21k and of fine-tuning: softmax cross-entropy
# with smoothed labels. Published (DeiT III). To go with it, cosub is in its CE form.
_base_ = './vit-huge_classifier.py'
model = dict(
    head=dict(
        loss=dict(
            _delete_=True, type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'
        )
    )
)
