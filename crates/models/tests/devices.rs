//! Devices, precisions and threads that are not available, and weights for another number of classes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

use candle_core::{DType, Device};
use models::{
    Architecture, DeviceName, DeviceProblem, Error, Initialisation, Network, WeightsSource, ops, with_threads,
};

fn conv4(classes: usize, dtype: DType) -> models::Result<Network> {
    let architecture = Architecture::from_toml("family = 'conv4'\nchannels = [3]\ninput_size = [4, 4]")?;
    Network::new(&architecture.with_classes(classes), Initialisation::Flax, 0, dtype, &Device::Cpu)
}

#[test]
fn devices_are_read_from_their_names() {
    for (text, device) in [
        ("cpu", DeviceName::Cpu),
        ("cuda", DeviceName::Cuda(0)),
        ("cuda:3", DeviceName::Cuda(3)),
        ("metal", DeviceName::Metal),
    ] {
        assert_eq!(text.parse::<DeviceName>().unwrap(), device);
        let json = serde_json::to_string(&device).unwrap();
        assert_eq!(serde_json::from_str::<DeviceName>(&json).unwrap(), device);
    }
    for text in ["", "CPU", "cuda:", "cuda:-1", "cuda:x", "metal:0", "rocm"] {
        match text.parse::<DeviceName>().unwrap_err() {
            Error::UnknownName { what: "device", name, nearest } => {
                assert_eq!((name.as_str(), nearest.len()), (text, 3));
            }
            other => panic!("{text}: {other}"),
        }
    }
}

#[test]
fn errors_state_whether_the_build_or_the_machine_lacks_a_device() {
    for (name, built, feature) in
        [(DeviceName::Cuda(977), cfg!(feature = "cuda"), "cuda"), (DeviceName::Metal, cfg!(feature = "metal"), "metal")]
    {
        match name.open() {
            Ok(_) => assert!(built),
            Err(Error::DeviceUnavailable { device, problem: DeviceProblem::NotBuilt(missing) }) => {
                assert_eq!((device, missing.as_str(), built), (name.to_string(), feature, false));
            }
            Err(Error::DeviceUnavailable { problem: DeviceProblem::NotFound(_), .. }) => assert!(built),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn unsupported_dtypes_are_refused_before_anything_is_built() {
    for dtype in [DType::BF16, DType::F16, DType::U32] {
        match conv4(2, dtype).err() {
            Some(Error::DType { op: "network", got, .. }) => assert_eq!(got, dtype.as_str()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn rounded_products_are_refused_on_the_cpu_before_a_step_is_done() {
    use models::Pass;
    use models::train::{Fit, Gradients, LabelledBatch, Progress, Sgd};
    let network = conv4(2, DType::F32).unwrap();
    let images = candle_core::Tensor::ones((2, 3, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let labels = candle_core::Tensor::new(&[0u32, 1], &Device::Cpu).unwrap();
    let (pass, fit) = (Pass::training(1, 0), Fit::new(3, Sgd::new(0.1)));
    let bf16 = ("bf16", pass.mixed_precision(), Fit { mixed_precision: true, ..fit.clone() });
    let tf32 = ("tf32", pass.tf32(), Fit { tf32: true, ..fit });
    for (expected, pass, fit) in [bf16, tf32] {
        let logits = network.tracked().logits(&images, &pass).unwrap_err();
        let batch = LabelledBatch { images: &images, labels: &labels, label_smoothing: 0.0 };
        let gradients = Gradients::of_loss(&network, &batch, &pass).unwrap_err();
        let mut batches = |_: u64| Ok((images.clone(), labels.clone()));
        let mut progress = Progress::default();
        let hook = |_: &Network, _| Ok(std::ops::ControlFlow::Continue(()));
        let run = fit.run(&network, &mut progress, &mut batches, hook).unwrap_err();
        for error in [logits, gradients, run] {
            let Error::Operation(ops::Error::MixedPrecision { products, dtype, .. }) = &error else {
                panic!("{error}")
            };
            assert_eq!((*products, dtype.as_str()), (expected, "f32"));
            let text = error.to_string();
            assert!(text.contains(&format!("{expected} products")) && text.contains("--features cudnn"), "{text}");
        }
        assert_eq!(progress.step, 0);
    }
}

#[test]
fn a_training_multiplies_in_one_rounded_format() {
    use models::train::{Fit, Sgd};
    let plain = Fit::new(3, Sgd::new(0.1));
    let both = Fit { mixed_precision: true, tf32: true, ..plain.clone() };
    assert!(matches!(both.validate(), Err(Error::Setting { name: "tf32", .. })));
    // A description names TF32 only where it is used, so that those of earlier versions stay the same.
    let text = |fit: &Fit| serde_json::to_string(fit).unwrap();
    let rounded = Fit { tf32: true, ..plain.clone() };
    assert!(!text(&plain).contains("tf32") && text(&rounded).contains("\"tf32\":true"));
    assert_eq!(serde_json::from_str::<Fit>(&text(&rounded)).unwrap(), rounded);
    assert_eq!(serde_json::from_str::<Fit>(&text(&plain)).unwrap(), plain);
}

#[test]
fn a_run_uses_the_given_number_of_threads() {
    assert_eq!(with_threads(3, rayon::current_num_threads).unwrap(), 3);
    assert!(matches!(with_threads(0, || ()), Err(Error::Setting { name: "threads", .. })));
}

#[test]
fn the_error_for_weights_of_other_classes_states_their_number() {
    let file = tempfile::NamedTempFile::new().unwrap();
    conv4(7, DType::F32).unwrap().params().save(file.path()).unwrap();
    let error = conv4(2, DType::F32).unwrap().params().load(file.path()).unwrap_err();
    assert!(matches!(error, Error::Weights { .. }));
    assert!(error.to_string().contains("set `classes = 7`"), "{error}");
    // The weights of another architecture are not a matter of classes.
    let other = Architecture::from_toml("family = 'conv4'\nchannels = [5]\ninput_size = [4, 4]\nclasses = 2").unwrap();
    let other = Network::new(&other, Initialisation::Flax, 0, DType::F32, &Device::Cpu).unwrap();
    let error = other.params().load(file.path()).unwrap_err().to_string();
    assert!(error.contains("choose the architecture") && error.contains("`encoder.0.0.weight`"), "{error}");
}

#[test]
fn sources_of_weights_are_read_from_their_names() {
    let hub = |text: &str| match text.parse().unwrap() {
        WeightsSource::Hub { repository, revision, file } => [repository, revision, file],
        other => panic!("{other}"),
    };
    assert_eq!(hub("hub:timm/resnet18.tv_in1k"), ["timm/resnet18.tv_in1k", "main", "model.safetensors"]);
    assert_eq!(hub("hub:a/b@abc123"), ["a/b", "abc123", "model.safetensors"]);
    assert_eq!(hub("hub:a/b:sub/w.safetensors"), ["a/b", "main", "sub/w.safetensors"]);
    for text in ["hub:", "hub:a", "hub:a/", "hub:a/b/c", "hub:../b", "hub:a/b@", "hub:a/b:", "hub:a/b:../w"] {
        assert!(matches!(text.parse::<WeightsSource>(), Err(Error::WeightsSource { .. })), "{text}");
    }
    let again: WeightsSource = "hub:a/b@c:d".parse::<WeightsSource>().unwrap().to_string().parse().unwrap();
    assert_eq!(again, "hub:a/b@c:d".parse().unwrap());
}
