//! Draws the pictures of the chapter "What GC and NC are": `cargo run -p book --example concept_figures -- docs/src/images`.
//!
//! Every number in them is measured here, by `collapse` and `gc-core`.

use std::fmt::Write as _;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use collapse::{CdnvConvention, ClassMoments, Scatter, cdnv};
use gc_core::GeometricComplexity;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const COLOURS: [&str; 3] = ["#0b6fb8", "#c4540a", "#2b7a3d"];
const PER_CLASS: usize = 60;
/// Light and dark pages.
const STYLE: &str = ".paper{fill:#fff}text{fill:#1a1d21}@media(prefers-color-scheme:dark){.paper{fill:#14171a}\
text{fill:#e7eaee}circle,polyline{filter:brightness(1.6)}}";

fn main() -> Result<()> {
    let folder = std::env::args().nth(1).ok_or("which folder?")?;
    std::fs::write(Path::new(&folder).join("collapse-clouds.svg"), clouds()?)?;
    std::fs::write(Path::new(&folder).join("complexity-curves.svg"), curves()?)?;
    Ok(())
}

fn page(width: usize, height: usize, title: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"14\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"{width}\" \
         height=\"{height}\"/>\n{body}</svg>\n"
    )
}

/// Three classes around the corners of a triangle, at three spreads.
fn clouds() -> Result<String> {
    let corners = [(0.0, 1.0), (-0.75f64.sqrt(), -0.5), (0.75f64.sqrt(), -0.5)];
    let labels: Vec<u32> = (0..3 * PER_CLASS as u32).map(|i| i % 3).collect();
    let noise = streams::standard_normal(&mut streams::stream(0, "book/clouds", 0), 2 * labels.len());
    let mut body = String::new();
    for (panel, spread) in [0.5, 0.2, 0.05].into_iter().enumerate() {
        let points: Vec<f64> = labels
            .iter()
            .zip(noise.chunks(2))
            .flat_map(|(&label, noise)| {
                let (x, y) = corners[label as usize];
                [x + spread * noise[0], y + spread * noise[1]]
            })
            .collect();
        let mut moments = ClassMoments::new(3, 2, Scatter::Trace);
        moments.update_slice(&points, &labels)?;
        let value = cdnv(&moments, CdnvConvention::default())?.mean;
        let centre = 120 + 240 * panel;
        for (point, &label) in points.chunks(2).zip(&labels) {
            let (x, y) = (centre as f64 + 48.0 * point[0], 125.0 - 48.0 * point[1]);
            let colour = COLOURS[label as usize];
            writeln!(body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.2\" fill=\"{colour}\" fill-opacity=\".65\"/>")?;
        }
        writeln!(body, "<text x=\"{centre}\" y=\"258\" text-anchor=\"middle\">mean CDNV {value:.4}</text>")?;
    }
    Ok(page(720, 275, "Three classes of features at three spreads around the same means", &body))
}

/// A smooth function and a rough one of one variable, over one period.
fn curves() -> Result<String> {
    let steps = 720;
    let inputs: Vec<f64> = (0..steps).map(|i| std::f64::consts::TAU * f64::from(i) / f64::from(steps)).collect();
    let x = Tensor::from_vec(inputs.clone(), (inputs.len(), 1), &Device::Cpu)?.to_dtype(DType::F64)?;
    let mut body = String::new();
    for (panel, (name, amplitude)) in [("sin x", 0.0), ("sin x + 0.3 sin 8x", 0.3)].into_iter().enumerate() {
        let map = |x: &Tensor| x.sin()? + ((x * 8.0)?.sin()? * amplitude)?;
        let gc = GeometricComplexity::exact().measure_inputs(&map, &x)?.value;
        let values = map(&x)?.flatten_all()?.to_vec1::<f64>()?;
        let left = 30.0 + 350.0 * panel as f64;
        let place = |(x, y): (&f64, f64)| format!("{:.1},{:.1}", left + 50.0 * x, 105.0 - 60.0 * y);
        let line: Vec<String> = inputs.iter().zip(values).map(place).collect();
        let (right, middle, colour) = (left + 314.0, left + 157.0, COLOURS[panel]);
        writeln!(body, "<path d=\"M{left} 105H{right}\" stroke=\"#999\"/>")?;
        writeln!(
            body,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        )?;
        writeln!(body, "<text x=\"{middle}\" y=\"210\" text-anchor=\"middle\">f(x) = {name}: GC {gc:.2}</text>")?;
    }
    Ok(page(720, 225, "A smooth and a rough function over one period, with their geometric complexity", &body))
}
