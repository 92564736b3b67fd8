"""Formats of ConvNeXt and XCiT, and of networks that exist in one library only."""

from mmcosub.checkpoints.reading import State

from .table import Format, register_format


def _pointwise_as_linear(state: State) -> State:
    """Convert 1x1 convolutions to linear layers and flatten vectors."""
    return {
        name: value.flatten(1)
        if 'pointwise_conv' in name and value.ndim == 4
        else (value.flatten() if name.endswith(('gamma', 'beta')) else value)
        for name, value in state.items()
    }


_CONVNEXT = 'stages.{}.{}'

register_format(
    Format('mmpretrain ConvNeXt', 'ConvNeXt', marks=['stages.0.0.depthwise_conv'])
)
register_format(
    Format(
        'timm ConvNeXt',
        'ConvNeXt',
        marks=['stages.0.blocks.0.conv_dw'],
        names=[
            ('stem', 'downsample_layers.0'),
            ('stages.{}.downsample', 'downsample_layers.{}'),
            ('stages.{}.blocks.{}.conv_dw', f'{_CONVNEXT}.depthwise_conv'),
            ('stages.{}.blocks.{}.mlp.fc1', f'{_CONVNEXT}.pointwise_conv1'),
            ('stages.{}.blocks.{}.mlp.fc2', f'{_CONVNEXT}.pointwise_conv2'),
            ('stages.{}.blocks.{}.mlp.grn.weight', f'{_CONVNEXT}.grn.gamma'),
            ('stages.{}.blocks.{}.mlp.grn.bias', f'{_CONVNEXT}.grn.beta'),
            ('stages.{}.blocks.{}', _CONVNEXT),
            ('head.norm', 'norm3'),
        ],
        to_ours=_pointwise_as_linear,
    )
)
register_format(
    Format(
        'official ConvNeXt',
        'ConvNeXt',
        marks=['stages.0.0.dwconv'],
        names=[
            ('stages.{}.{}.dwconv', f'{_CONVNEXT}.depthwise_conv'),
            ('stages.{}.{}.pwconv1', f'{_CONVNEXT}.pointwise_conv1'),
            ('stages.{}.{}.pwconv2', f'{_CONVNEXT}.pointwise_conv2'),
            ('norm', 'norm3'),
            ('head', 'head.fc'),
        ],
        to_ours=_pointwise_as_linear,
    )
)

register_format(
    Format(
        'torchvision ConvNeXt',
        'ConvNeXt',
        marks=['features.1.0.block.0', 'features.1.0.layer_scale'],
        names=[
            ('features.0', 'downsample_layers.0'),
            *(
                names
                for i in range(4)
                for names in (
                    *(
                        (f'features.{2 * i + 1}.{{}}.{a}', f'stages.{i}.{{}}.{b}')
                        for a, b in (
                            ('block.0', 'depthwise_conv'),
                            ('block.2', 'norm'),
                            ('block.3', 'pointwise_conv1'),
                            ('block.5', 'pointwise_conv2'),
                            ('layer_scale', 'gamma'),
                        )
                    ),
                    (f'features.{2 * i + 2}', f'downsample_layers.{i + 1}'),
                )
            ),
            ('classifier.0', 'norm3'),
            ('classifier.2', 'head.fc'),
        ],
        to_ours=_pointwise_as_linear,
    )
)
_LAYER = 'encoder.stages.{}.layers.{}'
register_format(
    Format(
        'Transformers ConvNeXt',
        'ConvNeXt',
        marks=['encoder.stages.0.layers.0.dwconv'],
        names=[
            ('embeddings.patch_embeddings', 'downsample_layers.0.0'),
            ('embeddings.layernorm', 'downsample_layers.0.1'),
            ('encoder.stages.{}.downsampling_layer', 'downsample_layers.{}'),
            (f'{_LAYER}.dwconv', f'{_CONVNEXT}.depthwise_conv'),
            (f'{_LAYER}.layernorm', f'{_CONVNEXT}.norm'),
            (f'{_LAYER}.pwconv1', f'{_CONVNEXT}.pointwise_conv1'),
            (f'{_LAYER}.pwconv2', f'{_CONVNEXT}.pointwise_conv2'),
            (f'{_LAYER}.layer_scale_parameter', f'{_CONVNEXT}.gamma'),
            (f'{_LAYER}.grn.weight', f'{_CONVNEXT}.grn.gamma'),
            (f'{_LAYER}.grn.bias', f'{_CONVNEXT}.grn.beta'),
            ('layernorm', 'norm3'),
            ('classifier', 'head.fc'),
        ],
        to_ours=_pointwise_as_linear,
    )
)

_XCIT = [
    # Their stem numbers activations, too.
    *(
        (f'patch_embed.proj.{2 * i}.{j}', f'patch_embed.proj.{i}.{part}')
        for i in range(4)
        for j, part in enumerate(('conv', 'bn'))
    ),
    ('blocks.{}.local_mp.bn', 'xca_layers.{}.local_mp.conv1.bn'),
    ('blocks.{}.local_mp.conv1', 'xca_layers.{}.local_mp.conv1.conv'),
    ('blocks.{}.local_mp.conv2', 'xca_layers.{}.local_mp.conv2.conv'),
    ('blocks.{}.mlp.fc1', 'xca_layers.{}.ffn.layers.0.0'),
    ('blocks.{}.mlp.fc2', 'xca_layers.{}.ffn.layers.1'),
    ('blocks', 'xca_layers'),
    ('cls_attn_blocks.{}.mlp.fc1', 'ca_layers.{}.ffn.layers.0.0'),
    ('cls_attn_blocks.{}.mlp.fc2', 'ca_layers.{}.ffn.layers.1'),
    ('cls_attn_blocks', 'ca_layers'),
    ('head', 'head.fc'),
]

register_format(
    Format('mmpretrain XCiT', 'XCiT', marks=['xca_layers.0.attn.temperature'])
)
for _name, _marks, _position in (
    ('official XCiT', ['pos_embeder'], 'pos_embeder'),
    ('timm XCiT', [], 'pos_embed'),
):
    register_format(
        Format(
            _name,
            'XCiT',
            marks=['blocks.0.attn.temperature', 'blocks.0.local_mp', *_marks],
            names=[
                (f'{_position}.token_projection', 'pos_embed.token_projection.conv'),
                *_XCIT,
            ],
        )
    )  # fmt: skip

for _name, _mark in (
    ('timm PiT', 'transformers.0.blocks.0.attn.qkv'),
    ('timm RegNet', 's1.b1.conv1.conv'),
    ('mmpretrain SwinV2', 'stages.0.blocks.0.attn.w_msa.cpb_mlp'),
    ('timm SwinV2', 'layers.0.blocks.0.attn.cpb_mlp'),
):
    register_format(Format(_name, _name, marks=[_mark]))
