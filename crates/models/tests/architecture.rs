//! Architectures from TOML: names of parameters, a round trip of every family, and the descriptions that are refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

use candle_core::{DType, Device, Tensor};
use models::{Architecture, Error, Initialisation, Network, Pass};

const MLP: &str = "family = 'mlp'\ninputs = 6\nhidden = [8, 8, 5]\nactivation = 'tanh'\nclasses = 3\n";

fn network(architecture: &Architecture) -> Network {
    Network::new(architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu).unwrap()
}

fn names(text: &str) -> Vec<String> {
    let network = network(&Architecture::from_toml(text).unwrap());
    network.params().names().map(str::to_owned).collect()
}

#[test]
fn parameters_are_named_as_pytorch_names_them() {
    assert_eq!(
        names(MLP),
        [
            "embed.0.bias",
            "embed.0.weight",
            "embed.2.bias",
            "embed.2.weight",
            "embed.4.bias",
            "embed.4.weight",
            "head.bias",
            "head.weight"
        ]
    );
    let vgg = names("family = 'vgg'\nstages = [[4, 4], [6]]\nbatch_norm = true\ninput_size = [8, 4]");
    for name in ["features.0.weight", "features.1.running_var", "features.4.num_batches_tracked", "features.7.bias"] {
        assert!(vgg.iter().any(|known| known == name), "{name} is not in {vgg:?}");
    }
    let hidden = names("family = 'vgg'\nstages = [[4]]\nhidden = [5, 6]");
    assert!(
        ["classifier.0.weight", "classifier.3.bias", "classifier.6.weight"]
            .iter()
            .all(|n| hidden.contains(&(*n).into()))
    );
    let wide = names("family = 'wide_resnet'\ndepth = 10\nwiden_factor = 2");
    for name in ["block1.layer.0.convShortcut.weight", "block3.layer.0.bn2.weight", "bn1.running_mean", "fc.bias"] {
        assert!(wide.iter().any(|known| known == name), "{name} is not in {wide:?}");
    }
    assert!(names("family = 'conv4'").contains(&"encoder.3.1.running_mean".to_owned()));
}

#[test]
fn every_named_architecture_round_trips_through_toml() {
    for name in Architecture::names() {
        let architecture = Architecture::named(name).unwrap();
        let text = architecture.to_toml().unwrap();
        assert_eq!(Architecture::from_toml(&text).unwrap(), architecture, "{name}:\n{text}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), MLP).unwrap();
    assert_eq!(Architecture::from_file(file.path()).unwrap(), Architecture::from_toml(MLP).unwrap());
}

/// Each family lists its keys besides its struct: a key in one place only would be refused, or ignored.
#[test]
fn every_key_of_every_family_is_read() {
    for text in [
        "family = 'mlp'\ninputs = 4\nhidden = [3]\nactivation = 'relu'\nactivation_before_head = true\nclasses = 2",
        "family = 'vgg'\nstages = [[2]]\nbatch_norm = true\nactivation = 'gelu'\nhidden = [3]\ndropout = 0.1\n\
         in_channels = 1\ninput_size = [4, 6]\nclasses = 2",
        "family = 'resnet'\nblock = 'basic'\nstem = 'imagenet'\nstem_channels = 3\nactivation = 'silu'\nin_channels = 1\n\
         stages = [{ channels = 2, blocks = 1, stride = 2 }]\ninput_size = [9, 8]\nclasses = 2",
        "family = 'wide_resnet'\ndepth = 10\nwiden_factor = 1\nbase_channels = 2\ndropout = 0.3\nactivation = 'tanh'\n\
         in_channels = 1\ninput_size = [8, 4]\nclasses = 2",
        "family = 'conv4'\nchannels = [2, 3]\nactivation = 'softplus'\nin_channels = 1\ninput_size = [8, 4]\nclasses = 2",
    ] {
        let architecture = Architecture::from_toml(text).unwrap();
        let again = Architecture::from_toml(&architecture.to_toml().unwrap()).unwrap();
        assert_eq!(again, architecture);
        let network = network(&architecture);
        let mut shape = architecture.input_shape();
        shape.insert(0, 2);
        let images = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        assert_eq!(network.frozen().logits(&images, &Pass::evaluation()).unwrap().dims(), [2, 2], "{text}");
    }
}

#[test]
fn invalid_descriptions_are_refused_by_kind() {
    let parse = |text: &str| Architecture::from_toml(text).unwrap_err();
    let description = |text: &str, part: &str| match parse(text) {
        Error::Description { reason, .. } => assert!(reason.contains(part), "{text}: {reason}"),
        other => panic!("{text}: {other}"),
    };
    description("family = ", "TOML parse error");
    description("inputs = 6", "`family` is missing");
    description("family = 7", "`family` is missing");
    description("family = 'mlp'\ninputs = 6\nhidden = [5]", "missing field `classes`");
    description("family = 'mlp'\ninputs = -6\nhidden = [5]\nclasses = 2", "-6");
    description("family = 'mlp'\ninputs = 6\nhidden = [5]\nclasses = 2\nactivation = 'sine'", "unknown variant `sine`");
    description("family = 'vgg'\nstages = [4, 4]", "invalid type");
    description("family = 'resnet'\nstages = [{ channels = 4, blocks = 1, stride = 1, width = 2 }]", "`width`");
    description("family = 'resnet'\nstages = [{ channels = 4, blocks = 1 }]", "stride");
    description("family = 'resnet'\nstages = []\nblock = 'plain'", "unknown variant `plain`");
    description("family = 'vgg'\nstages = [[4]]\ninput_size = [8]", "");

    let Error::UnknownName { what: "architecture family", nearest, .. } = parse("family = 'resnets'") else { panic!() };
    assert_eq!(nearest[0], "`resnet`");
    let unknown = |text: &str, bad: &str| match parse(text) {
        Error::UnknownKey { key, nearest, .. } => {
            assert_eq!(key, bad);
            nearest[0].clone()
        }
        other => panic!("{text}: {other}"),
    };
    assert_eq!(unknown("family = 'vgg'\nstages = [[4]]\nbatchnorm = true", "batchnorm"), "`batch_norm`");
    // A key of one family is unknown to another.
    unknown("family = 'mlp'\ninputs = 6\nhidden = [5]\nclasses = 2\ninput_size = [2, 3]", "input_size");
    unknown("family = 'vgg'\nstages = [[4]]\nblock = 'basic'", "block");
    unknown("family = 'resnet'\nstages = []\nbatch_norm = true", "batch_norm");
    unknown("family = 'wide_resnet'\ndepth = 10\nwiden_factor = 1\nstages = []", "stages");
    unknown("family = 'conv4'\nhidden = [4]", "hidden");

    let missing = Architecture::from_file("no/such/file.toml").unwrap_err();
    assert!(matches!(missing, Error::Io { .. }), "{missing}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "family = 'conv4'\nhidden = [4]").unwrap();
    let error = Architecture::from_file(file.path()).unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()), "{error}");
}

/// `nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))` with identity weights at (1, −1): the features are (1, 0).
#[test]
fn an_mlp_without_the_key_has_an_activation_before_its_head() {
    let base = "family = 'mlp'\ninputs = 2\nhidden = [2]\nclasses = 2\nactivation = 'relu'";
    for (key, features, layer, complexity) in [
        ("", [1.0, 0.0], "embed.1", 1.0),
        ("\nactivation_before_head = true", [1.0, 0.0], "embed.1", 1.0),
        ("\nactivation_before_head = false", [1.0, -1.0], "embed.0", 2.0),
    ] {
        let network = network(&Architecture::from_toml(&format!("{base}{key}")).unwrap());
        network
            .params()
            .get("embed.0.weight")
            .unwrap()
            .var
            .set(&Tensor::eye(2, DType::F32, &Device::Cpu).unwrap())
            .unwrap();
        let (view, x) = (network.frozen(), Tensor::new(&[[1f32, -1.0]], &Device::Cpu).unwrap());
        assert_eq!(view.features(&x, &Pass::evaluation()).unwrap().to_vec2::<f32>().unwrap()[0], features);
        assert_eq!((view.feature_layer().as_deref(), view.head_name()), (Some(layer), "head"));
        let map = view.feature_map(Pass::evaluation(), None).unwrap();
        let gc = gc_core::GeometricComplexity::exact().measure_inputs(&map, &x).unwrap();
        assert_eq!(gc.value, complexity, "{key}");
        // The output of the linear layer is reached by name for either value of the key.
        let linear = view.features_at(&x, "embed.0", &Pass::evaluation()).unwrap();
        assert_eq!(linear.to_vec2::<f32>().unwrap()[0], [1.0, -1.0]);
    }
}

#[test]
fn impossible_sizes_are_refused_by_setting() {
    for (text, setting) in [
        ("family = 'mlp'\ninputs = 0\nhidden = [5]\nclasses = 2", "inputs"),
        ("family = 'mlp'\ninputs = 6\nhidden = []\nclasses = 2", "hidden"),
        ("family = 'mlp'\ninputs = 6\nhidden = [5, 0]\nclasses = 2", "hidden"),
        ("family = 'vgg'\nstages = [[4], []]", "stages"),
        ("family = 'vgg'\nstages = []", "stages"),
        ("family = 'vgg'\nstages = [[4], [4]]\ninput_size = [3, 8]", "input_size"),
        ("family = 'vgg'\nstages = [[4]]\nhidden = [4]\ndropout = 1.0", "dropout"),
        ("family = 'resnet'\nstages = []", "stages"),
        ("family = 'resnet'\nstages = [{ channels = 4, blocks = 1, stride = 0 }]", "stride"),
        ("family = 'resnet'\nstages = [{ channels = 4, blocks = 0, stride = 1 }]", "blocks"),
        ("family = 'resnet'\nclasses = 0\nstages = [{ channels = 4, blocks = 1, stride = 1 }]", "classes"),
        ("family = 'wide_resnet'\ndepth = 27\nwiden_factor = 4", "depth"),
        ("family = 'wide_resnet'\ndepth = 28\nwiden_factor = 0", "widen_factor"),
        // Sizes that would overflow, take hours to build or need more memory than any machine has.
        ("family = 'mlp'\ninputs = 16777217\nhidden = [5]\nclasses = 2", "inputs"),
        ("family = 'mlp'\ninputs = 16777216\nhidden = [16777216]\nclasses = 2", "a parameter's shape"),
        ("family = 'vgg'\nstages = [[9223372036854775807]]", "stages"),
        ("family = 'vgg'\nstages = [[4, 0]]", "stages"),
        ("family = 'vgg'\nstages = [[2]]\ninput_size = [16777216, 16777216]", "a parameter's shape"),
        ("family = 'resnet'\nstages = [{ channels = 4, blocks = 100000000, stride = 1 }]", "blocks"),
        ("family = 'resnet'\ninput_size = [0, 8]\nstages = [{ channels = 4, blocks = 1, stride = 1 }]", "input_size"),
        ("family = 'resnet'\nin_channels = 0\nstages = [{ channels = 4, blocks = 1, stride = 1 }]", "in_channels"),
        ("family = 'wide_resnet'\ndepth = 6004\nwiden_factor = 1", "depth"),
        ("family = 'conv4'\nchannels = []", "channels"),
        ("family = 'conv4'\ninput_size = [15, 32]", "input_size"),
    ] {
        let architecture = Architecture::from_toml(text).unwrap();
        let built = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu);
        match built.err() {
            Some(Error::Setting { name, .. }) => assert_eq!(name, setting, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn every_family_can_change_width_activation_and_input_size() {
    for name in ["mlp", "vgg11_bn", "resnet18-cifar", "wide-resnet16-4", "conv4"] {
        let small = Architecture::named(name).unwrap().with_width(0.0625).with_input(1, [32, 48]).with_classes(3);
        let smooth = small.clone().with_activation(models::ops::Activation::Silu);
        assert!(smooth.to_toml().unwrap().contains("activation = \"silu\""), "{name}");
        let images = Tensor::ones((2, 1, 32, 48), DType::F32, &Device::Cpu).unwrap();
        let logits = |architecture: &Architecture| {
            let logits = network(architecture).frozen().logits(&images, &Pass::evaluation()).unwrap();
            assert_eq!(logits.dims(), [2, 3], "{name}");
            logits.to_vec2::<f32>().unwrap()
        };
        assert_ne!(logits(&small), logits(&smooth), "{name}");
        for factor in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e30] {
            let architecture = Architecture::named(name).unwrap().with_width(factor);
            let built = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu);
            assert!(matches!(built.err(), Some(Error::Setting { op: "architecture", .. })), "{name} times {factor}");
        }
    }
}

#[test]
fn unknown_names_come_with_the_nearest_ones() {
    let Error::UnknownName { nearest, .. } = Architecture::named("resnet-18-cifar").unwrap_err() else { panic!() };
    assert_eq!(nearest[0], "`resnet18-cifar`");
}
