//! A narrow network of each family with names of timm and torchvision, and of the families for text.

/// Name in the fixture, description, shape of the inputs.
pub const NETS: [(&str, &str, &[usize]); 18] = [
    (
        "vit",
        "family = 'vit'\npatch = 4\nwidth = 12\ndepth = 2\nheads = 3\ninput_size = [8, 12]\nclasses = 5",
        &[2, 3, 8, 12],
    ),
    (
        "vit-mean",
        "family = 'vit'\npatch = 4\nwidth = 12\ndepth = 2\nheads = 2\nfeatures = 'mean'\nlayer_scale = 0.1\n\
         input_size = [8, 12]\nclasses = 5",
        &[2, 3, 8, 12],
    ),
    (
        "convnext",
        "family = 'convnext'\nchannels = [4, 6, 8, 8]\nblocks = [1, 2, 1, 1]\nconv_mlp = true\ninput_size = [32, 64]\n\
         classes = 5",
        &[2, 3, 32, 64],
    ),
    (
        "convnext-linear",
        "family = 'convnext'\nchannels = [4, 4, 6, 8]\nblocks = [1, 1, 1, 1]\ninput_size = [32, 32]\nclasses = 5",
        &[2, 3, 32, 32],
    ),
    (
        "swin",
        "family = 'swin'\nwidth = 6\nblocks = [2, 2]\nheads = [2, 3]\nwindow = 2\nmlp_ratio = 2\ninput_size = [32, 48]\n\
         classes = 5",
        &[2, 3, 32, 48],
    ),
    (
        "mixer",
        "family = 'mixer'\npatch = 4\nwidth = 12\ndepth = 2\ntoken_width = 6\nchannel_width = 24\ninput_size = [8, 12]\n\
         classes = 5",
        &[2, 3, 8, 12],
    ),
    (
        "mobilenet_v2",
        "family = 'mobilenet_v2'\nstem_channels = 8\nstages = [\n\
         { expansion = 1, channels = 4, blocks = 1, stride = 1 },\n\
         { expansion = 6, channels = 8, blocks = 2, stride = 2 },\n\
         { expansion = 3, channels = 8, blocks = 1, stride = 1 }]\ninput_size = [12, 16]\nclasses = 5",
        &[2, 3, 12, 16],
    ),
    (
        "mobilenet_v3",
        "family = 'mobilenet_v3'\nlast_channels = 12\ninput_size = [12, 16]\nclasses = 5\nblocks = [\n\
         { kernel = 3, expanded = 16, channels = 8, squeeze = true, activation = 'relu', stride = 2 },\n\
         { kernel = 5, expanded = 24, channels = 8, squeeze = true, activation = 'hardswish', stride = 1 },\n\
         { kernel = 3, expanded = 32, channels = 16, squeeze = false, activation = 'hardswish', stride = 1 }]",
        &[2, 3, 12, 16],
    ),
    (
        "efficientnet",
        "family = 'efficientnet'\nstem_channels = 8\ninput_size = [12, 16]\nstages = [\n\
         { expansion = 1, channels = 8, blocks = 1, stride = 1 },\n\
         { expansion = 3, channels = 16, blocks = 2, stride = 2, kernel = 5 }]",
        &[2, 3, 12, 16],
    ),
    (
        "densenet",
        "family = 'densenet'\nstem_channels = 6\ngrowth = 4\nbottleneck = 2\nblocks = [2, 3]\ninput_size = [32, 24]\n\
         classes = 5",
        &[2, 3, 32, 24],
    ),
    (
        "resnet-d",
        "family = 'resnet'\nblock = 'bottleneck'\nstem = 'deep'\nstem_channels = 6\naverage_down = true\n\
         input_size = [34, 48]\nclasses = 5\nstages = [\n\
         { channels = 4, blocks = 1, stride = 1 }, { channels = 4, blocks = 1, stride = 2 },\n\
         { channels = 6, blocks = 1, stride = 2 }, { channels = 6, blocks = 1, stride = 2 }]",
        &[2, 3, 34, 48],
    ),
    ("decoder", "family = 'decoder'\ntokens = 5\nwidth = 12\ndepth = 2\nheads = 3\nclasses = 5", &[2, 5, 12]),
    (
        "encoder",
        "family = 'encoder'\ntokens = 5\nwidth = 12\ndepth = 2\nheads = 3\nmlp_ratio = 2\nclasses = 5",
        &[2, 5, 12],
    ),
    (
        "vgg-pool",
        "family = 'vgg'\nstages = [[4], [6]]\nhidden = [7, 8]\npool = [3, 2]\ninput_size = [20, 28]\nclasses = 5",
        &[2, 3, 20, 28],
    ),
    (
        "resnext",
        "family = 'resnet'\nblock = 'bottleneck'\nstem = 'imagenet'\nstem_channels = 4\ngroups = 2\ngroup_width = 16\n\
         input_size = [33, 40]\nclasses = 5\nstages = [\n\
         { channels = 8, blocks = 1, stride = 1 }, { channels = 8, blocks = 1, stride = 2 },\n\
         { channels = 8, blocks = 1, stride = 2 }, { channels = 8, blocks = 1, stride = 2 }]",
        &[2, 3, 33, 40],
    ),
    (
        "wide-resnet",
        "family = 'resnet'\nblock = 'bottleneck'\nstem = 'imagenet'\nstem_channels = 4\ngroup_width = 128\n\
         input_size = [33, 40]\nclasses = 5\nstages = [\n\
         { channels = 4, blocks = 1, stride = 1 }, { channels = 4, blocks = 1, stride = 2 },\n\
         { channels = 6, blocks = 1, stride = 2 }, { channels = 6, blocks = 1, stride = 2 }]",
        &[2, 3, 33, 40],
    ),
    (
        "regnet-x",
        "family = 'regnet'\nstem_channels = 6\ngroup_width = 4\ninput_size = [12, 18]\nclasses = 5\n\
         stages = [{ channels = 8, blocks = 1 }, { channels = 12, blocks = 2 }]",
        &[2, 3, 12, 18],
    ),
    (
        "regnet-y",
        "family = 'regnet'\nstem_channels = 6\ngroup_width = 4\nsqueeze = true\ninput_size = [12, 18]\nclasses = 5\n\
         stages = [{ channels = 8, blocks = 1 }, { channels = 12, blocks = 2 }]",
        &[2, 3, 12, 18],
    ),
];
