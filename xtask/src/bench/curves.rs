//! Cost curves: the exponent with which cost grows with a size, and the share of the machine's roofline that is reached.
//!
//! A benchmark `… against SIZE/NUMBER, DEVICE` is a point of a curve. The roofline of a point is the time of its least work at the
//! measured peaks: the longer of operations at the speed of large matrix products and bytes at the speed of copying
//! (S. Williams, A. Waterman and D. Patterson, "Roofline", Communications of the ACM 52(4), 2009).

use std::fmt::Write as _;

use super::recorded::{Figure, OURS, Session};
use super::units::cost;

/// The points of one curve, by size.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    /// The work and the size: `… against SIZE`.
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// Cost at one size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) size: f64,
    /// Seconds, median over the rounds.
    pub(super) cost: f64,
    /// The roofline, where least work and peaks were recorded.
    pub(super) roofline: Option<Roofline>,
}

/// The least time of a piece of work at the machine's peaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Roofline {
    pub(super) seconds: f64,
    /// Whether the time of the products exceeds that of the memory traffic.
    pub(super) by_products: bool,
}

/// `cost = factor · size^exponent`, by least squares on logarithms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    pub(super) exponent: f64,
    /// Standard error of the exponent; `None` for two points.
    pub(super) error: Option<f64>,
    pub(super) factor: f64,
}

impl Fit {
    /// `None` for fewer than two sizes.
    pub(super) fn new(points: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let logs: Vec<(f64, f64)> = points.into_iter().map(|(size, cost)| (size.ln(), cost.ln())).collect();
        let count = logs.len() as f64;
        let mean = logs.iter().fold((0.0, 0.0), |sum, log| (sum.0 + log.0 / count, sum.1 + log.1 / count));
        let spread: f64 = logs.iter().map(|log| (log.0 - mean.0).powi(2)).sum();
        if logs.len() < 2 || spread == 0.0 {
            return None;
        }
        let exponent = logs.iter().map(|log| (log.0 - mean.0) * (log.1 - mean.1)).sum::<f64>() / spread;
        let residual = |log: &(f64, f64)| (log.1 - mean.1 - exponent * (log.0 - mean.0)).powi(2);
        let left: f64 = logs.iter().map(residual).sum();
        let error = (logs.len() > 2).then(|| (left / (count - 2.0) / spread).sqrt());
        Some(Self { exponent, error, factor: (mean.1 - exponent * mean.0).exp() })
    }

    pub(super) fn at(&self, size: f64) -> f64 {
        self.factor * size.powf(self.exponent)
    }
}

impl Curve {
    /// The fitted power law of the cost.
    pub(super) fn fit(&self) -> Option<Fit> {
        Fit::new(self.points.iter().map(|point| (point.size, point.cost)))
    }

    /// The fitted power law of the roofline, where every point has one.
    pub(super) fn roofline_fit(&self) -> Option<Fit> {
        let points = self.points.iter().map(|point| Some((point.size, point.roofline?.seconds)));
        Fit::new(points.collect::<Option<Vec<_>>>()?)
    }
}

/// The curves of a session, in the order of their first points.
pub(super) fn curves(session: &Session) -> Vec<Curve> {
    let peaks = Peaks::of(session);
    let mut curves: Vec<Curve> = Vec::new();
    for figure in session.figures.iter().filter(|figure| figure.side == OURS && figure.unit == "s") {
        let Some((name, size)) = split(&figure.work) else { continue };
        let point = Point { size, cost: figure.median(), roofline: peaks.roofline(figure) };
        match curves.iter_mut().find(|curve| curve.name == name) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name: name.to_owned(), points: vec![point] }),
        }
    }
    curves.iter_mut().for_each(|curve| curve.points.sort_by(|a, b| a.size.total_cmp(&b.size)));
    curves.retain(|curve| curve.points.len() > 1);
    curves
}

/// Name and size of a point's benchmark.
pub(super) fn split(work: &str) -> Option<(&str, f64)> {
    let (name, size) = work.rsplit_once('/')?;
    let size = size.split(',').next()?.parse().ok()?;
    name.contains("against ").then_some((name, size))
}

/// The measured peaks: operations and bytes per second.
#[derive(Clone, Copy, Debug, Default)]
struct Peaks {
    gemm: Option<f64>,
    copy: Option<f64>,
}

impl Peaks {
    fn of(session: &Session) -> Self {
        let rate = |start: &str| {
            let peak = session.figures.iter().find(|figure| figure.work.starts_with(start) && figure.side == OURS)?;
            Some(peak.elements? / peak.median())
        };
        Self { gemm: rate("peak/gemm/"), copy: rate("peak/copy/") }
    }

    fn roofline(&self, figure: &Figure) -> Option<Roofline> {
        let least = figure.least?;
        let (products, memory) = (least.operations / self.gemm?, least.bytes / self.copy?);
        Some(Roofline { seconds: products.max(memory), by_products: products >= memory })
    }
}

/// The curves as a table; empty without curves.
pub(super) fn table(session: &Session) -> String {
    let curves = curves(session);
    if curves.is_empty() {
        return String::new();
    }
    let mut text =
        "| cost | from | to | grows as size to the power | the roofline as | roofline over cost | bound by |\n\
                    |---|---|---|---|---|---|---|\n"
            .to_owned();
    for curve in curves {
        let (Some(first), Some(last), Some(fit)) = (curve.points.first(), curve.points.last(), curve.fit()) else {
            continue;
        };
        let error = fit.error.map(|error| format!(" ± {error:.2}")).unwrap_or_default();
        let roof = curve.roofline_fit().map(|fit| format!("{:.2}", fit.exponent)).unwrap_or_default();
        let share = |point: &Point| point.roofline.map(|roof| format!("{:.0} %", 100.0 * roof.seconds / point.cost));
        let shares = match (share(first), share(last)) {
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => String::new(),
        };
        let by = last.roofline.map_or("", |roof| if roof.by_products { "products" } else { "memory" });
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} at {} | {} at {} | {:.2}{error} | {roof} | {shares} | {by} |",
            curve.name,
            cost(first.cost, "s"),
            first.size,
            cost(last.cost, "s"),
            last.size,
            fit.exponent
        );
    }
    text.push('\n');
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::recorded::Least;
    use super::super::recorded::tests::{example, figure};
    use super::*;

    /// Linear in the samples, at half of what products allow; 1e9 operations and 1e9 bytes a second at best.
    pub(crate) fn session() -> Session {
        let mut session = example().topics.remove("collapse").unwrap().remove(0);
        let point = |size: f64| Figure {
            least: Some(Least { operations: 5e5 * size, bytes: 10.0 * size }),
            ..figure(&format!("report against samples/{size}, cpu"), OURS, &[0.001 * size], None)
        };
        session.figures = vec![
            point(1000.0),
            point(10.0),
            point(100.0),
            figure("peak/gemm/1536, cpu", OURS, &[2.0], Some(2e9)),
            figure("peak/copy/256 MiB, cpu", OURS, &[1.0], Some(1e9)),
        ];
        session
    }

    #[test]
    fn growth_and_roofline_are_those_of_the_points() {
        let session = session();
        let curves = curves(&session);
        assert_eq!((curves.len(), curves[0].name.as_str()), (1, "report against samples"));
        assert_eq!(curves[0].points.iter().map(|point| point.size).collect::<Vec<_>>(), [10.0, 100.0, 1000.0]);
        let roof = curves[0].points[2].roofline.unwrap();
        assert!((roof.seconds - 0.5).abs() < 1e-12 && roof.by_products);
        let text = table(&session);
        let row = "| report against samples | 10.0 ms at 10 | 1.00 s at 1000 | 1.00 ± 0.00 | 1.00 | 50 % to 50 % | products |";
        assert!(text.contains(row), "{text}");
    }

    #[test]
    fn an_exponent_carries_its_error() {
        // Logarithms 0, 1, 2 against 0, 1, 3 (base e): slope 3/2, residuals 1/6, −1/3, 1/6, so the error is √(1/6/1/2).
        let points = [(1.0, 1.0), (1f64.exp(), 1f64.exp()), (2f64.exp(), 3f64.exp())];
        let fit = Fit::new(points).unwrap();
        assert!((fit.exponent - 1.5).abs() < 1e-12);
        assert!((fit.error.unwrap() - (1.0f64 / 12.0).sqrt()).abs() < 1e-12, "{fit:?}");
        assert!((fit.at(1.0) - fit.factor).abs() < 1e-15);
        assert!(Fit::new([(3.0, 1.0)]).is_none() && Fit::new([(3.0, 1.0), (3.0, 2.0)]).is_none());
    }

    #[test]
    fn without_peaks_there_is_no_roofline() {
        let mut session = session();
        session.figures.retain(|figure| !figure.work.starts_with("peak/copy"));
        assert!(curves(&session)[0].roofline_fit().is_none());
        assert!(table(&session).contains("| 1.00 ± 0.00 |  |  |  |"));
        assert_eq!(split("fewshot/5-way 5-shot/ncm"), None);
    }
}
