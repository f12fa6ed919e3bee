//! The family of networks that the names of tensors look like.

/// Parts of names that a family's tensors have, the more specific families first.
const SIGNS: [(&str, &[&str]); 22] = [
    ("a vision transformer of timm (`vit`)", &["blocks.0.attn.qkv", "patch_embed.proj"]),
    ("a vision transformer of torchvision", &["encoder.layers.encoder_layer_0."]),
    ("a Swin transformer", &["relative_position_bias_table"]),
    ("a ConvNeXt (`convnext`, in timm's form)", &["stages.0.blocks.0.conv_dw", "stages.0.blocks.0.gamma"]),
    ("a ConvNeXt of torchvision", &["features.1.0.layer_scale"]),
    ("an MLP-Mixer (`mixer`)", &["mlp_tokens.fc1"]),
    ("a DenseNet (`densenet`)", &["denseblock1."]),
    ("an EfficientNet or MobileNetV3 of timm", &["blocks.0.0.conv_dw", "blocks.0.0.conv_pw"]),
    ("an EfficientNet of torchvision (`efficientnet`)", &["features.1.0.block.0"]),
    ("a MobileNetV3 of torchvision (`mobilenet_v3`)", &["features.1.block.0"]),
    ("a MobileNetV2 of torchvision (`mobilenet_v2`)", &["features.1.conv.0"]),
    ("a MobileNet or EfficientNet of torchvision", &["features.0.0.weight"]),
    ("a BERT-like encoder (`encoder`)", &["encoder.layer.0.attention", "embeddings.word_embeddings"]),
    ("a GPT-like decoder (`decoder`)", &["h.0.attn.c_attn"]),
    ("a GPT-like decoder", &["layers.0.self_attn.q_proj", "wte.weight"]),
    ("a Wide ResNet (`wide_resnet`)", &["block1.layer.0.", "convShortcut"]),
    ("a ResNet with bottleneck blocks (`resnet`, block = 'bottleneck')", &["layer1.0.conv3"]),
    ("a ResNet with basic blocks (`resnet`)", &["layer1.0.conv1", "layer1.0.conv2"]),
    ("a Conv-4 (`conv4`)", &["encoder.0.0.weight", "encoder.1.0.weight"]),
    ("a VGG (`vgg`)", &["features.0.weight", "features.3.weight"]),
    ("an MLP of this crate (`mlp`)", &["embed.0.weight"]),
    ("an `nn.Sequential` of linear layers (`mlp`)", &["0.weight"]),
];

/// The family that names without wrappers' prefixes look like.
pub(super) fn family(names: &[&str]) -> Option<&'static str> {
    let shows = |sign: &str| {
        let whole = sign.starts_with('0');
        names.iter().any(|name| if whole { *name == sign } else { name.contains(sign) })
    };
    SIGNS.into_iter().find(|(_, signs)| signs.iter().any(|sign| shows(sign))).map(|(family, _)| family)
}
