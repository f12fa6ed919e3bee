//! Draws the picture of README and introduction from recorded results: `cargo run -p book --example summary_figure`.
//!
//! Rows are two sweeps of `reproduce fig4 --preset cpu`, columns three measures at the end of training. Points are means over
//! seeds with their range. The words above each panel are the size and the verdict of the recorded claim.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Row = BTreeMap<String, String>;

const WIDTH: f64 = 936.0;
const HEIGHT: f64 = 652.0;
const LEFT: f64 = 66.0;
const PANEL: (f64, f64) = (220.0, 150.0);
const STEP: (f64, f64) = (286.0, 274.0);
const TOP: f64 = 166.0;

const STYLE: &str = "text{font:14px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:#1a1d21}\
.title{font-weight:600;font-size:20px}.head{font-weight:600;font-size:17px}.small{font-size:13px;fill:#5b636e}\
.paper{fill:#fff}.grid{stroke:#dde1e6}.axis{stroke:#88919c}.line{fill:none;stroke:#0a5f9e;stroke-width:2}\
.mark{fill:#0a5f9e}.range{stroke:#0a5f9e;stroke-width:1.5;stroke-opacity:.6}.holds{fill:#1b6e3c;font-weight:600}\
.undecided{fill:#5b636e;font-weight:600}.fails{fill:#b3261e;font-weight:600}\
@media(prefers-color-scheme:dark){text{fill:#e7eaee}.small{fill:#a3acb7}.paper{fill:#14171a}.grid{stroke:#2d333a}\
.axis{stroke:#7b8591}.line,.range{stroke:#7dbcf5}.mark{fill:#7dbcf5}.holds{fill:#6fd596}.undecided{fill:#a3acb7}\
.fails{fill:#ff8f86}}";

/// A row of panels: a sweep.
struct Sweep {
    name: &'static str,
    key: &'static str,
    words: &'static str,
    axis: &'static str,
    claims: [&'static str; 3],
}

const SWEEPS: [Sweep; 2] = [
    Sweep {
        name: "learning-rate",
        key: "learning_rate",
        words: "A larger learning rate",
        axis: "learning rate",
        claims: [
            "larger learning rate → lower source GC",
            "larger learning rate → lower target NC",
            "larger learning rate → higher 5-shot accuracy, nearest mean",
        ],
    },
    Sweep {
        name: "gc-penalty",
        key: "gc_penalty",
        words: "A penalty that lowers GC alone",
        axis: "weight λ of GC in the loss",
        claims: [
            "larger λ → lower source GC",
            "larger λ → lower target NC",
            "larger λ → higher 5-shot accuracy, nearest mean",
        ],
    },
];

/// A column of panels: a measure on an axis from `low` to `high`.
struct Measure {
    column: &'static str,
    words: &'static str,
    low: f64,
    high: f64,
    logarithmic: bool,
    ticks: &'static [f64],
}

const MEASURES: [Measure; 3] = [
    Measure {
        column: "gc",
        words: "GC: reaction to the input",
        low: 3.0,
        high: 1500.0,
        logarithmic: true,
        ticks: &[10.0, 100.0, 1000.0],
    },
    Measure {
        column: "target_nc",
        words: "NC: spread of new classes",
        low: 2.0,
        high: 4.2,
        logarithmic: false,
        ticks: &[2.0, 3.0, 4.0],
    },
    Measure {
        column: "nearest_mean_accuracy",
        words: "Accuracy on new classes",
        low: 0.44,
        high: 0.62,
        logarithmic: false,
        ticks: &[0.45, 0.5, 0.55, 0.6],
    },
];

fn main() -> Result<()> {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let runs = table(&book.join("results/fig4-cpu-end-of-training.csv"))?;
    let claims = table(&book.join("results/fig4-cpu-claims.csv"))?;
    std::fs::write(book.join("images/summary.svg"), picture(&runs, &claims)?)?;
    Ok(())
}

fn table(path: &Path) -> Result<Vec<Row>> {
    let mut reader = csv::Reader::from_path(path)?;
    Ok(reader.deserialize().collect::<std::result::Result<_, _>>()?)
}

fn picture(runs: &[Row], claims: &[Row]) -> Result<String> {
    let title = "GC, neural collapse and transfer on CIFAR-FS";
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"24\" y=\"32\">What lowers geometric complexity, and does it help on new classes?</text>\n\
         <text class=\"small\" x=\"24\" y=\"56\">CIFAR-FS, small VGG: mean and range over 5 seeds at the end of \
         training.</text>\n\
         <text class=\"small\" x=\"24\" y=\"74\">Above each panel: the change over the sweep with its 95 % interval, \
         and the verdict.</text>\n"
    );
    for (row, sweep) in SWEEPS.iter().enumerate() {
        let top = TOP + STEP.1 * row as f64;
        writeln!(svg, "<text class=\"head\" x=\"24\" y=\"{:.1}\">{}</text>", top - 56.0, sweep.words)?;
        for (column, measure) in MEASURES.iter().enumerate() {
            let left = LEFT + STEP.0 * column as f64;
            let claim = sweep.claims.get(column).copied().ok_or("a panel without a claim")?;
            panel(&mut svg, (left, top), sweep, measure, runs)?;
            verdict(&mut svg, (left, top - 8.0), claim, claims)?;
        }
    }
    Ok(svg + "</svg>\n")
}

/// The values of a measure at each swept value.
fn points(sweep: &Sweep, measure: &Measure, runs: &[Row]) -> Result<Vec<(f64, Vec<f64>)>> {
    let mut points: Vec<(f64, Vec<f64>)> = Vec::new();
    for run in runs.iter().filter(|run| field(run, "sweeps").is_ok_and(|sweeps| sweeps.contains(sweep.name))) {
        let (swept, value) = (field(run, sweep.key)?.parse::<f64>()?, field(run, measure.column)?.parse::<f64>()?);
        match points.iter_mut().find(|point| point.0 == swept) {
            Some(point) => point.1.push(value),
            None => points.push((swept, vec![value])),
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    Ok(points)
}

fn panel(svg: &mut String, (left, top): (f64, f64), sweep: &Sweep, measure: &Measure, runs: &[Row]) -> Result<()> {
    let share = |value: f64| match measure.logarithmic {
        true => (value / measure.low).ln() / (measure.high / measure.low).ln(),
        false => (value - measure.low) / (measure.high - measure.low),
    };
    let y = |value: f64| top + PANEL.1 * (1.0 - share(value));
    for &tick in measure.ticks {
        let text = if tick < 1.0 { format!("{:.0} %", 100.0 * tick) } else { format!("{tick}") };
        let (right, at) = (left + PANEL.0, y(tick));
        writeln!(svg, "<path class=\"grid\" d=\"M{left:.1} {at:.1}H{right:.1}\"/>")?;
        writeln!(
            svg,
            "<text class=\"small\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            left - 6.0,
            at + 4.0
        )?;
    }
    writeln!(
        svg,
        "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{0:.1}H{1:.1}\" fill=\"none\"/>",
        top + PANEL.1,
        left + PANEL.0
    )?;
    writeln!(svg, "<text x=\"{left:.1}\" y=\"{:.1}\">{}</text>", top - 30.0, measure.words)?;
    let points = points(sweep, measure, runs)?;
    let x = |index: usize| left + PANEL.0 * (index as f64 + 0.5) / points.len() as f64;
    let mut line = Vec::new();
    for (index, (swept, values)) in points.iter().enumerate() {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(low, high), &v| (low.min(v), high.max(v)));
        let (at, bottom) = (x(index), top + PANEL.1 + 16.0);
        writeln!(svg, "<path class=\"range\" d=\"M{at:.1} {:.1}V{:.1}\"/>", y(low), y(high))?;
        writeln!(svg, "<circle class=\"mark\" cx=\"{at:.1}\" cy=\"{:.1}\" r=\"4\"/>", y(mean))?;
        writeln!(
            svg,
            "<text class=\"small\" x=\"{at:.1}\" y=\"{bottom:.1}\" text-anchor=\"middle\">{}</text>",
            swept_value(*swept)
        )?;
        line.push(format!("{at:.1},{:.1}", y(mean)));
    }
    writeln!(svg, "<polyline class=\"line\" points=\"{}\"/>", line.join(" "))?;
    let middle = left + PANEL.0 / 2.0;
    writeln!(
        svg,
        "<text class=\"small\" x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
        top + PANEL.1 + 34.0,
        sweep.axis
    )?;
    Ok(())
}

fn swept_value(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        small if small < 1e-3 => format!("10⁻{}", if small < 5e-5 { "⁵" } else { "⁴" }),
        value => format!("{value}"),
    }
}

/// The size and the verdict of a claim at equal epochs.
fn verdict(svg: &mut String, (left, top): (f64, f64), claim: &str, claims: &[Row]) -> Result<()> {
    let found = claims.iter().find(|row| {
        field(row, "claim").is_ok_and(|text| text == claim)
            && field(row, "comparison").is_ok_and(|at| at == "equal epochs")
    });
    let found = found.ok_or_else(|| format!("no recorded claim “{claim}”"))?;
    let number = |key: &str| -> Result<f64> { Ok(field(found, key)?.parse::<f64>()?) };
    let (size, low, high) = (number("size")?, number("size_low")?, number("size_high")?);
    let words = match field(found, "size_unit")? {
        "factor" => format!("×{} [{}, {}]", digits(size), digits(low), digits(high)),
        _ => format!("{size:+.1} points [{low:+.1}, {high:+.1}]").replace('-', "−"),
    };
    let verdict = field(found, "verdict")?;
    writeln!(svg, "<text x=\"{left:.1}\" y=\"{top:.1}\">{words} <tspan class=\"{verdict}\">{verdict}</tspan></text>")?;
    Ok(())
}

/// At most three significant digits.
fn digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    format!("{rounded}")
}

fn field<'a>(row: &'a Row, key: &str) -> Result<&'a str> {
    row.get(key).map(String::as_str).ok_or_else(|| format!("no column {key}").into())
}
