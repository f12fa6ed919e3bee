//! Files of weights as people have them: names with prefixes, other names of the same layers, no head, several files, and PyTorch's
//! own files. All are made here; PyTorch's archives byte by byte as `torch.save` writes them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on may panic")]

mod support;

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use models::{Architecture, Error, Initialisation, Network, Params, WeightsFile, WeightsReport};
use support::numbers;

const RESNET: &str = "family = 'resnet'\ninput_size = [8, 6]\nclasses = 3\n\
    stages = [{ channels = 4, blocks = 1, stride = 1 }, { channels = 6, blocks = 1, stride = 2 }]";
const MLP: &str = "family = 'mlp'\ninputs = 4\nhidden = [5, 3]\nclasses = 2";

fn network(text: &str, seed: u64) -> Network {
    let architecture = Architecture::from_toml(text).unwrap();
    Network::new(&architecture, Initialisation::Pytorch, seed, DType::F32, &Device::Cpu).unwrap()
}

type Tensors = HashMap<String, Tensor>;

/// The parameters of a network by new names.
fn tensors(network: &Network, name: impl Fn(&str) -> String) -> Tensors {
    network.params().iter().map(|(old, parameter)| (name(old), parameter.var.as_detached_tensor())).collect()
}

fn weights(params: &Params) -> Vec<f64> {
    params.iter().flat_map(|(_, parameter)| numbers(&parameter.var)).collect()
}

fn save(folder: &Path, name: &str, tensors: &Tensors) -> PathBuf {
    let path = folder.join(name);
    candle_core::safetensors::save(tensors, &path).unwrap();
    path
}

/// Loads the file into another network and checks that it then has the parameters of `expected`.
fn assert_loads(path: &Path, text: &str, expected: &Network) -> WeightsReport {
    let other = network(text, 77);
    let report = other.params().load(path).unwrap();
    assert_eq!(weights(other.params()), weights(expected.params()));
    assert!(report.is_clean());
    report
}

#[test]
fn prefixes_are_stripped_in_any_order_and_combination() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(RESNET, 1);
    let parts = ["module.", "_orig_mod.", "model.", "backbone."];
    let mut prefixes: Vec<String> = vec![String::new()];
    for _ in 0..3 {
        let longer: Vec<String> = prefixes.iter().flat_map(|p| parts.map(|part| format!("{p}{part}"))).collect();
        prefixes.extend(longer);
        prefixes.dedup();
    }
    assert!(prefixes.len() > 80);
    for prefix in prefixes {
        let path = save(folder.path(), "w.safetensors", &tensors(&net, |name| format!("{prefix}{name}")));
        let report = assert_loads(&path, RESNET, &net);
        let expected: Vec<&str> = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty()).into_iter().collect();
        assert_eq!(report.stripped_prefixes, expected);
        assert_eq!(report.notes().len(), expected.len());
        assert!(report.notes().iter().all(|note| note.contains(&format!("`{prefix}`"))), "{:?}", report.notes());
    }
    // A wrapper may hold the body alone, beside a head of its own.
    let mixed = |name: &str| if name.starts_with("fc.") { name.to_owned() } else { format!("module.backbone.{name}") };
    assert_loads(&save(folder.path(), "w.safetensors", &tensors(&net, mixed)), RESNET, &net);
    // A name without a prefix goes before the same name with one.
    let mut twice = tensors(&net, str::to_owned);
    twice.insert("module.fc.bias".into(), Tensor::ones(3, DType::F32, &Device::Cpu).unwrap());
    let path = save(folder.path(), "w.safetensors", &twice);
    let error = network(RESNET, 2).params().load(&path).unwrap_err();
    let Error::Weights { report, .. } = error else { panic!("{error}") };
    let [unexpected] = report.unexpected.as_slice() else { panic!("{report:?}") };
    assert_eq!((unexpected.name.as_str(), unexpected.shape.as_slice()), ("module.fc.bias", &[3][..]));
}

#[test]
fn names_of_cifar_resnets_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(RESNET, 1);
    let theirs = |name: &str| name.replace("downsample.", "shortcut.").replace("fc.", "linear.");
    for prefix in ["", "module.", "module._orig_mod."] {
        let path = save(folder.path(), "w.safetensors", &tensors(&net, |name| format!("{prefix}{}", theirs(name))));
        let report = assert_loads(&path, RESNET, &net);
        let renamed = |file_name: &str, parameter: &str| {
            report.renamed.iter().any(|tensor| tensor.file_name == file_name && tensor.parameter == parameter)
        };
        assert!(renamed("linear.weight", "fc.weight"), "{report:?}");
        assert!(renamed("layer2.0.shortcut.0.weight", "layer2.0.downsample.0.weight"), "{report:?}");
        let architecture = net.architecture().clone().with_classes(9);
        assert_eq!(WeightsFile::open(&path).unwrap().classes(&architecture), Some(3));
    }
}

#[test]
fn heads_of_other_names_and_sequential_mlps_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(RESNET, 1);
    for head in ["linear", "head", "classifier", "last_linear", "head.fc"] {
        let renamed = tensors(&net, |name| name.replace("fc.", &format!("{head}.")));
        assert_loads(&save(folder.path(), "w.safetensors", &renamed), RESNET, &net);
    }
    let mlp = network(MLP, 1);
    for (prefix, numbers) in [("", [0, 2, 4]), ("net.", [0, 3, 6]), ("module.layers.", [1, 2, 3])] {
        let layers = ["embed.0", "embed.2", "head"];
        let renamed = tensors(&mlp, |name| {
            let (layer, kind) = name.rsplit_once('.').unwrap();
            let at = layers.iter().position(|known| *known == layer).unwrap();
            format!("{prefix}{}.{kind}", numbers[at])
        });
        let path = save(folder.path(), "w.safetensors", &renamed);
        let report = assert_loads(&path, MLP, &mlp);
        // The numbers show whether the module before the head has no parameters, as an activation.
        let key = format!("activation_before_head = {}", numbers[2] - numbers[1] > 1);
        assert!(report.notes().iter().any(|note| note.contains(&key)), "{:?}", report.notes());
        assert!(network("family = 'mlp'\ninputs = 4\nhidden = [5]\nclasses = 2", 1).params().load(&path).is_err());
    }
}

#[test]
fn a_missing_head_matters_only_where_it_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    for text in [RESNET, MLP, "family = 'vgg'\nstages = [[4]]\nhidden = [5]\ninput_size = [4, 6]"] {
        let (net, other) = (network(text, 1), network(text, 2));
        let head = format!("{}.", net.params().head_name().unwrap());
        let mut body = tensors(&net, |name| format!("module.{name}"));
        body.retain(|name, _| !name.contains(&head));
        let file = WeightsFile::open(save(folder.path(), "w.safetensors", &body)).unwrap();
        assert_eq!(file.classes(net.architecture()), None, "{text}");
        let before = weights(other.params());
        let error = other.params().load_file(&file).unwrap_err();
        assert!(error.to_string().contains("only the head is missing"), "{error}");
        assert_eq!(weights(other.params()), before, "nothing was changed");
        let report = other.params().load_body(&file).unwrap();
        assert!(report.lacks_only_head() && report.notes().iter().any(|note| note.contains("no head")), "{report:?}");
        for (name, parameter) in other.params().iter() {
            let expected = net.params().get(name).unwrap();
            let same = numbers(&parameter.var) == numbers(&expected.var);
            assert!(same != name.starts_with(&head), "{name}");
        }
        // A layer of the body is no head.
        body.retain(|name, _| !name.ends_with("0.weight") && !name.ends_with("conv1.weight"));
        let file = WeightsFile::open(save(folder.path(), "w.safetensors", &body)).unwrap();
        assert!(matches!(other.params().load_body(&file), Err(Error::Weights { .. })));
    }
}

#[test]
fn weights_in_several_files_are_read_by_index_or_folder() {
    let net = network(RESNET, 1);
    let all = tensors(&net, str::to_owned);
    let mut names: Vec<&String> = all.keys().collect();
    names.sort();
    let folder = tempfile::tempdir().unwrap();
    let mut map = serde_json::Map::new();
    for (index, part) in names.chunks(names.len().div_ceil(3)).enumerate() {
        let file = format!("model-{:05}-of-00003.safetensors", index + 1);
        let tensors: Tensors = part.iter().map(|name| ((*name).clone(), all[*name].clone())).collect();
        save(folder.path(), &file, &tensors);
        map.extend(part.iter().map(|name| ((*name).clone(), file.clone().into())));
    }
    // Numbered parts without an index, then the index in the folder and by its own name.
    assert_loads(folder.path(), RESNET, &net);
    let index = folder.path().join("model.safetensors.index.json");
    let write = |map: &serde_json::Map<String, serde_json::Value>| {
        std::fs::write(&index, serde_json::json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
    };
    write(&map);
    assert_loads(folder.path(), RESNET, &net);
    assert_loads(&index, RESNET, &net);

    let refused = |path: &Path| match WeightsFile::open(path).unwrap_err() {
        Error::WeightsShards { reason, .. } => reason,
        other => panic!("{other}"),
    };
    for outside in ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", ""] {
        let mut wrong = map.clone();
        wrong.insert("fc.bias".into(), outside.into());
        write(&wrong);
        assert!(refused(&index).contains("in the same folder"), "{outside}");
    }
    let mut wrong = map.clone();
    wrong.insert("nowhere".into(), "model-00001-of-00003.safetensors".into());
    write(&wrong);
    assert!(refused(&index).contains("does not hold it"));
    let mut wrong = map.clone();
    wrong.insert("fc.bias".into(), "model-00009-of-00003.safetensors".into());
    write(&wrong);
    assert!(matches!(WeightsFile::open(&index), Err(Error::Io { .. })));
    std::fs::write(&index, "{}").unwrap();
    assert!(refused(&index).contains("weight_map"));
    // A part is missing, and without an index the choice of file is ambiguous.
    std::fs::remove_file(&index).unwrap();
    std::fs::remove_file(folder.path().join("model-00002-of-00003.safetensors")).unwrap();
    assert!(refused(folder.path()).contains("name one of them"));

    let single = tempfile::tempdir().unwrap();
    assert!(refused(single.path()).contains("holds no weights"));
    save(single.path(), "model.safetensors", &all);
    std::fs::write(single.path().join("config.json"), "{}").unwrap();
    assert_loads(single.path(), RESNET, &net);
}

/// A pickle of protocol 2, as `torch.save` writes it, with the numbers of its storages.
#[derive(Default)]
struct Pickle {
    bytes: Vec<u8>,
    memo: u32,
    storages: Vec<Vec<u8>>,
}

impl Pickle {
    fn start() -> Self {
        Self { bytes: vec![0x80, 2], ..Self::default() }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn memoise(&mut self) -> &mut Self {
        let index = self.memo.to_le_bytes();
        self.memo += 1;
        self.put(b"r").put(&index)
    }

    fn text(&mut self, text: &str) -> &mut Self {
        self.put(b"X").put(&(text.len() as u32).to_le_bytes()).put(text.as_bytes()).memoise()
    }

    fn integer(&mut self, value: usize) -> &mut Self {
        self.put(b"J").put(&(value as i32).to_le_bytes())
    }

    fn integers(&mut self, values: &[usize]) -> &mut Self {
        self.put(b"(");
        for value in values {
            self.integer(*value);
        }
        self.put(b"t").memoise()
    }

    fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.put(format!("c{module}\n{name}\n").as_bytes()).memoise()
    }

    fn ordered_dict(&mut self) -> &mut Self {
        self.global("collections", "OrderedDict").put(b")R").memoise()
    }

    /// A tensor whose storage holds `values` as f32, seen with this offset, shape and strides.
    fn tensor(&mut self, values: &[f32], offset: usize, shape: &[usize], strides: &[usize]) -> &mut Self {
        let key = self.storages.len().to_string();
        self.storages.push(values.iter().flat_map(|value| value.to_le_bytes()).collect());
        self.global("torch._utils", "_rebuild_tensor_v2").put(b"((");
        self.text("storage").global("torch", "FloatStorage").text(&key).text("cpu").integer(values.len());
        self.put(b"t").memoise().put(b"Q").integer(offset).integers(shape).integers(strides);
        self.put(b"\x89").ordered_dict().put(b"t").memoise().put(b"R").memoise()
    }

    /// `nn.Module.state_dict()`: an ordered dict of tensors with the attribute `_metadata`.
    fn state_dict(&mut self, tensors: &Tensors) -> &mut Self {
        self.ordered_dict().put(b"(");
        let mut sorted: Vec<(&String, &Tensor)> = tensors.iter().collect();
        sorted.sort_by_key(|(name, _)| *name);
        for (name, tensor) in sorted {
            let values: Vec<f32> = numbers(tensor).into_iter().map(|value| value as f32).collect();
            let mut strides = vec![1; tensor.rank()];
            (1..tensor.rank()).rev().for_each(|axis| strides[axis - 1] = strides[axis] * tensor.dims()[axis]);
            self.text(name).tensor(&values, 0, tensor.dims(), &strides);
        }
        self.put(b"u").put(b"}").memoise().text("_metadata").ordered_dict().put(b"sb")
    }

    fn finish(&mut self) -> &mut Self {
        self.put(b".")
    }

    /// The archive, with one folder that is named as the file.
    fn archive(&self, method: zip::CompressionMethod) -> Vec<u8> {
        let options = zip::write::SimpleFileOptions::default().compression_method(method);
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let mut entry = |name: &str, bytes: &[u8]| {
            archive.start_file(format!("weights/{name}"), options).unwrap();
            archive.write_all(bytes).unwrap();
        };
        entry("data.pkl", &self.bytes);
        entry("byteorder", b"little");
        for (index, bytes) in self.storages.iter().enumerate() {
            entry(&format!("data/{index}"), bytes);
        }
        entry("version", b"3\n");
        archive.finish().unwrap().into_inner()
    }

    fn write(&self, path: &Path) {
        std::fs::write(path, self.archive(zip::CompressionMethod::Stored)).unwrap();
    }
}

/// The batch counts as floats: the test's pickles hold f32 only, and a count is converted.
fn pytorch_tensors(net: &Network, name: impl Fn(&str) -> String) -> Tensors {
    let mut tensors = tensors(net, name);
    for tensor in tensors.values_mut() {
        *tensor = tensor.to_dtype(DType::F32).unwrap();
    }
    tensors
}

#[test]
fn pytorchs_files_are_read_bare_and_under_the_keys_of_training_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(RESNET, 1);
    let state = pytorch_tensors(&net, |name| format!("module.{}", name.replace("fc.", "linear.")));
    for ending in ["pth", "pt", "bin"] {
        let path = folder.path().join(format!("weights.{ending}"));
        let mut pickle = Pickle::start();
        pickle.state_dict(&state).finish().write(&path);
        let report = assert_loads(&path, RESNET, &net);
        assert_eq!((report.wrappers.len(), report.stripped_prefixes.len()), (0, 1));
    }
    let path = folder.path().join("checkpoint.pth");
    for keys in [&["state_dict"][..], &["model"], &["ema"], &["net"], &["anything"], &["ema", "state_dict"]] {
        let mut pickle = Pickle::start();
        for key in keys {
            // Beside the state dict, the entries of a checkpoint: numbers, texts, and the state of an optimiser.
            pickle.put(b"}").memoise().put(b"(").text("epoch").integer(3).text("arch").text("resnet");
            pickle.text("best").put(b"G").put(&0.5f64.to_be_bytes()).text("optimizer").put(b"}").memoise();
            pickle.text("param_groups").put(b"]").memoise().put(b"s").text(key);
        }
        pickle.state_dict(&state);
        keys.iter().for_each(|_| {
            pickle.put(b"u");
        });
        pickle.finish().write(&path);
        let report = assert_loads(&path, RESNET, &net);
        assert_eq!(report.wrappers, keys);
        assert!(report.notes().iter().any(|note| note.contains(&format!("`{}`", keys[0]))), "{:?}", report.notes());
    }
    // Of two state dicts the first of the known keys is read, and the report names the other.
    let mut pickle = Pickle::start();
    let zeros = state.iter().map(|(name, tensor)| (name.clone(), tensor.zeros_like().unwrap())).collect();
    pickle.put(b"}").memoise().put(b"(").text("ema").state_dict(&zeros).text("model").state_dict(&state);
    pickle.put(b"u").finish().write(&path);
    let report = assert_loads(&path, RESNET, &net);
    assert_eq!((report.wrappers, report.ignored), (vec!["model".to_owned()], vec!["ema".to_owned()]));
}

#[test]
fn tensors_with_strides_and_offsets_are_those_that_pytorch_sees() {
    let path = tempfile::tempdir().unwrap().keep().join("w.pt");
    let storage: Vec<f32> = (0..30).map(|value| value as f32).collect();
    let at = |offset: usize, shape: &[usize], strides: &[usize]| {
        let mut pickle = Pickle::start();
        pickle.put(b"}").memoise().text("embed.0.weight").tensor(&storage, offset, shape, strides).put(b"s");
        pickle.finish().write(&path);
        let net = network("family = 'mlp'\ninputs = 3\nhidden = [4]\nclasses = 2", 1);
        net.params().load_matching(&path).map(|_| numbers(&net.params().get("embed.0.weight").unwrap().var))
    };
    let expected = |offset: usize, strides: [usize; 2]| -> Vec<f64> {
        (0..12).map(|i| (offset + i / 3 * strides[0] + i % 3 * strides[1]) as f64).collect()
    };
    for (offset, strides) in [(0, [3, 1]), (5, [3, 1]), (0, [1, 4]), (7, [1, 4]), (1, [6, 2]), (2, [5, 1])] {
        assert_eq!(at(offset, &[4, 3], &strides).unwrap(), expected(offset, strides), "{offset} {strides:?}");
    }
    for (offset, shape, strides) in [
        (19, [4, 3], [3, 1]),
        (0, [4, 3], [10, 1]),
        (0, [4, 1 << 30], [0, 0]),
        (i32::MAX as usize, [4, 3], [3, 1]),
        (0, [i32::MAX as usize; 2], [i32::MAX as usize; 2]),
    ] {
        let error = at(offset, &shape, &strides).unwrap_err();
        assert!(matches!(&error, Error::PyTorchFile { reason, .. } if reason.contains("outside the bytes")), "{error}");
    }
    std::fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn pytorchs_files_that_only_code_could_read_are_refused_by_kind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    let refused = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let error = network(MLP, 1).params().load(&path).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("w.pth") && text.len() < 600, "{text}");
        (text, matches!(error, Error::PyTorchFile { .. }))
    };
    let stored = zip::CompressionMethod::Stored;
    for (module, name) in
        [("os", "system"), ("posix", "system"), ("builtins", "eval"), ("__main__", "Net"), ("torch", "load")]
    {
        // At the top, and hidden in a dict beside a state dict.
        let mut top = Pickle::start();
        top.global(module, name).put(b"(").text("echo").put(b"tR").finish();
        let mut inside = Pickle::start();
        inside.put(b"}").memoise().put(b"(").text("x").global(module, name).put(b")R").put(b"u").finish();
        for pickle in [top, inside] {
            let (text, of_pytorch) = refused(&pickle.archive(stored));
            assert!(of_pytorch && text.contains(&format!("`{module}.{name}`")), "{text}");
        }
    }
    // Before 1.6: a bare pickle that starts with a magic number.
    let (text, _) = refused(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.");
    assert!(text.contains("before 1.6"), "{text}");
    let mut state = Pickle::start();
    state.state_dict(&pytorch_tensors(&network(MLP, 1), str::to_owned)).finish();
    let (text, of_pytorch) = refused(&state.archive(zip::CompressionMethod::Deflated));
    assert!(of_pytorch && text.contains("compressed"), "{text}");
    let whole = state.archive(stored);
    for cut in [4, 30, whole.len() / 2, whole.len() - 1] {
        assert!(refused(&whole[..cut]).1, "cut at {cut}");
    }
    // A pickle that is cut short anywhere, or whose bytes were changed, is an error and never a panic.
    for cut in 0..state.bytes.len() {
        let short = Pickle { bytes: state.bytes[..cut].to_vec(), memo: 0, storages: state.storages.clone() };
        assert!(refused(&short.archive(stored)).1, "pickle cut at {cut}");
    }
    for at in 0..state.bytes.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bytes = state.bytes.clone();
            bytes[at] ^= flip;
            let changed = Pickle { bytes, memo: 0, storages: state.storages.clone() };
            std::fs::write(&path, changed.archive(stored)).unwrap();
            let _ = network(MLP, 1).params().load(&path);
        }
    }
    let mut code = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["net/data.pkl", "net/code/__torch__.py", "net/constants.pkl"] {
        code.start_file(name, zip::write::SimpleFileOptions::default().compression_method(stored)).unwrap();
        code.write_all(b"\x80\x02}.").unwrap();
    }
    let (text, _) = refused(&code.finish().unwrap().into_inner());
    assert!(text.contains("TorchScript"), "{text}");
}

#[test]
fn pickles_that_would_exhaust_memory_or_stack_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.pth");
    let refused = |pickle: &mut Pickle| {
        pickle.finish().write(&path);
        let error = network(MLP, 1).params().load(&path).unwrap_err();
        let Error::PyTorchFile { reason, .. } = error else { panic!("{error}") };
        reason
    };
    // A text that claims 4 GB.
    assert!(refused(Pickle::start().put(b"X\xff\xff\xff\xffabc")).contains("cut short"));
    // Tuples inside tuples, a million deep.
    let deep = vec![0x85; 1_000_000];
    assert!(refused(Pickle::start().put(b")").put(&deep)).contains("deep"));
    // Lists inside lists: all opened first, then appended to each other.
    let (open, close) = (vec![b']'; 100_000], vec![b'a'; 99_999]);
    assert!(refused(Pickle::start().put(&open).put(&close)).contains("deep"));
    // A tuple of two references to the last, forty times: 2⁴⁰ copies.
    let mut doubling = Pickle::start();
    doubling.put(b")").memoise();
    for index in 0..40u32 {
        doubling.put(b"j").put(&index.to_le_bytes()).put(b"j").put(&index.to_le_bytes()).put(b"\x86").memoise();
    }
    assert!(refused(&mut doubling).contains("again"));
}

#[test]
fn a_long_report_is_short_and_names_the_likeliest_reason() {
    let folder = tempfile::tempdir().unwrap();
    let load = |net: &Network, tensors: &Tensors| {
        let path = save(folder.path(), "w.safetensors", tensors);
        let error = net.params().load(&path).unwrap_err();
        let Error::Weights { report, .. } = &error else { panic!("{error}") };
        let json = serde_json::to_string(report).unwrap();
        assert_eq!(serde_json::from_str::<WeightsReport>(&json).unwrap(), **report);
        let text = error.to_string();
        assert!(text.len() < 2000, "{} bytes: {text}", text.len());
        text
    };
    let named = |name: &str| {
        let architecture = Architecture::named(name).unwrap().with_width(0.0625);
        Network::new(&architecture, Initialisation::Flax, 0, DType::F32, &Device::Cpu).unwrap()
    };
    let (resnet50, resnet18, vgg) = (named("resnet50-cifar"), named("resnet18-cifar"), named("vgg16_bn"));
    let text = load(&vgg, &tensors(&resnet50, |name| format!("module.{name}")));
    for part in ["parameters fit: another architecture", "bottleneck blocks", "missing (", "more", "unexpected ("] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let listed = text.lines().find(|line| line.contains("missing (")).unwrap();
    assert_eq!(listed.matches('`').count(), 10, "five names: {listed}");
    let text = load(&resnet50, &tensors(&resnet18, str::to_owned));
    assert!(text.contains("basic blocks") && text.contains("another depth or form"), "{text}");
    let text = load(&resnet18, &tensors(&vgg, str::to_owned));
    assert!(text.contains("a VGG"), "{text}");
    let wide = Architecture::named("resnet18-cifar").unwrap().with_width(0.125);
    let wide = Network::new(&wide, Initialisation::Flax, 0, DType::F32, &Device::Cpu).unwrap();
    assert!(load(&wide, &tensors(&resnet18, str::to_owned)).contains("another width"));
    let zero = || Tensor::zeros((2, 2), DType::F32, &Device::Cpu).unwrap();
    for (name, family) in [
        ("blocks.0.attn.qkv.weight", "vision transformer"),
        ("features.denseblock1.denselayer1.conv1.weight", "DenseNet"),
        ("bert.encoder.layer.0.attention.self.query.weight", "BERT"),
    ] {
        let text = load(&resnet18, &[(name.to_owned(), zero())].into());
        assert!(text.contains(family), "{text}");
    }
}

/// The first bytes of a safetensors file are the length of its header, which may look like the start of any other format.
#[test]
fn a_header_as_long_as_another_formats_first_bytes_is_no_other_format() {
    let folder = tempfile::tempdir().unwrap();
    let net = network(MLP, 1);
    let path = save(folder.path(), "w.safetensors", &tensors(&net, str::to_owned));
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    // 640 is 0x0280, whose bytes start as a pickle of protocol 2 does.
    for target in [640usize, 0x0380, 0x0480] {
        let padding = vec![b' '; target.checked_sub(length).unwrap()];
        let header = (target as u64).to_le_bytes();
        let padded = [&header[..], &bytes[8..8 + length], &padding, &bytes[8 + length..]].concat();
        std::fs::write(&path, padded).unwrap();
        assert_loads(&path, MLP, &net);
    }
}

/// Sizes in a header that the file does not have.
#[test]
fn sizes_beyond_the_file_are_refused_before_they_are_allocated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let refused = |header: &str| {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 16]].concat();
        std::fs::write(&path, bytes).unwrap();
        network(MLP, 1).params().load(&path).unwrap_err()
    };
    for (shape, end) in [("[4]", 1u64 << 40), ("[1099511627776]", 16), ("[4611686018427387904, 4]", 16)] {
        let header = format!(r#"{{"head.bias":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#);
        assert!(matches!(refused(&header), Error::SafeTensors { .. }), "{shape} {end}");
    }
    std::fs::write(&path, [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    assert!(matches!(network(MLP, 1).params().load(&path), Err(Error::SafeTensors { .. })));
}
