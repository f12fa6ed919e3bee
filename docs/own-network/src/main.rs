//! One's own network in candle: GC, training with the GC penalty, neural collapse and few-shot accuracy of its features. First as a
//! closure on tensors with a training loop of one's own, then as layers of `models`.

mod layers;
mod network;

use candle_core::{DType, Device, Tensor, safetensors};
use candle_nn::{AdamW, Module, Optimizer, VarBuilder, VarMap, linear, loss::cross_entropy};
use collapse::ReportOptions;
use fewshot::{EpisodeSampler, LabelledFeatures, NearestMean};
use gc_core::{GeometricComplexity, Penalty, Probe};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixture/");
    let fixture = safetensors::load(format!("{folder}images.safetensors"), &Device::Cpu)?;
    let (images, targets) = (&fixture["images"], &fixture["labels"]);
    let labels: Vec<u32> = targets.to_vec1()?;

    let mut variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F64, &Device::Cpu);
    let features = network::features(&vb)?;
    let head = linear(16, 4, vb.pp("head"))?;
    variables.load(format!("{folder}weights.safetensors"))?;

    let gc = GeometricComplexity::exact().measure_inputs(&features, images)?;
    println!("GC {gc}, as torch.func computes it");
    let expected: f64 = fixture["gc"].to_scalar()?;
    assert!((gc.value - expected).abs() < 1e-5 * expected, "{} for {expected}", gc.value);

    let penalty = Penalty::projections(Probe::Rademacher, 1);
    let mut optimizer = AdamW::new_lr(variables.all_vars(), 0.01)?;
    for step in 0..60 {
        let term = penalty.term(&features, images, step)?;
        let loss = (cross_entropy(&head.forward(&term.features)?, targets)? + (term.loss * 1e-3)?)?;
        optimizer.backward_step(&loss)?;
    }

    let trained: Tensor = features(images)?.detach();
    println!("GC {} after training", GeometricComplexity::exact().measure_inputs(&features, images)?);
    let report = collapse::report(&trained, &labels, None, &ReportOptions::default())?;
    println!("CDNV {:.3} ± {:.3}", report.cdnv.mean, report.cdnv.std_error.unwrap_or(f64::NAN));
    let sampler = EpisodeSampler::fixed(&labels, 4, 1, 3, 0)?;
    let evaluation = fewshot::evaluate(&LabelledFeatures::from_tensor(&trained, &labels)?, &sampler, 200, &[NearestMean])?;
    println!("{}", evaluation.heads[0]);
    layers::run(images, targets, format!("{folder}weights.safetensors").as_ref(), expected)?;
    assert!(report.cdnv.mean < 0.5 && evaluation.heads[0].accuracy.mean > 0.8);
    Ok(())
}
