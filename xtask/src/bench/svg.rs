//! A bar chart: one bar is the best peer's cost of a piece of work divided by ours.

use maud::{Markup, html};

use super::recorded::{Ratio, Recorded};

const ROW: f64 = 20.0;
const LEFT: f64 = 560.0;
const WIDTH: f64 = 420.0;
const TOP: f64 = 34.0;

/// Colours of this page's pictures. Each picture has a background of its own, for light and dark pages.
pub(super) const STYLE: &str = "text{font:12px sans-serif;fill:#333}.head{font-weight:bold}.paper{fill:#fff}\
.bar,.point{fill:#2a6f97}.loss{fill:#b4552d}.grid{stroke:#ddd}.one{stroke:#333}\
.fit,.roof{fill:none;stroke:#2a6f97;stroke-width:1.5}.roof{stroke:#b4552d;stroke-dasharray:5 4}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.paper{fill:#1d2030}.grid{stroke:#3a3f55}.one{stroke:#ddd}\
.bar,.point{fill:#61a5c2}.loss{fill:#e08a5b}.fit{stroke:#61a5c2}.roof{stroke:#e08a5b}}";

/// The picture: bars on a logarithmic axis from 1, where both costs are equal.
pub(super) fn picture(recorded: &Recorded) -> Markup {
    let ratios: Vec<Ratio> = recorded.ratios().into_iter().filter(|ratio| ratio.best_peer).collect();
    let low = ratios.iter().map(|ratio| ratio.ratio).fold(1.0, f64::min).log2().floor();
    let high = ratios.iter().map(|ratio| ratio.ratio).fold(2.0, f64::max).log2().ceil();
    let x = |ratio: f64| LEFT + (ratio.log2() - low) / (high - low) * WIDTH;
    let height = TOP + ROW * ratios.len() as f64 + 12.0;
    let ticks: Vec<f64> = (low as i32..=high as i32).map(|power| 2f64.powi(power)).collect();
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {:.0} {height:.0}", LEFT + WIDTH + 60.0)) role="img" {
            title { "Cost of the best peer over ours, for each piece of work; above 1 ours costs less" }
            style { (STYLE) }
            rect class="paper" width="100%" height=(place(height)) {}
            @for tick in ticks {
                line class=(if tick == 1.0 { "one" } else { "grid" }) x1=(place(x(tick))) x2=(place(x(tick))) y1=(place(TOP - 6.0)) y2=(place(height - 8.0)) {}
                text x=(place(x(tick))) y="18" text-anchor="middle" { (tick) "×" }
            }
            @for (index, ratio) in ratios.iter().enumerate() {
                @let y = TOP + ROW * index as f64;
                @let ends = (x(ratio.ratio).min(x(1.0)), x(ratio.ratio).max(x(1.0)));
                text x=(place(LEFT - 10.0)) y=(place(y + 13.0)) text-anchor="end" { (ratio.work) " (" (ratio.peer) ")" }
                rect class=(if ratio.ratio < 1.0 { "loss" } else { "bar" }) x=(place(ends.0)) y=(place(y + 3.0)) width=(place(ends.1 - ends.0)) height="13" {
                    title { (format!("{}: {:.2} times the cost, by {}", ratio.work, ratio.ratio, ratio.peer)) }
                }
                text x=(place(ends.1 + 6.0)) y=(place(y + 13.0)) { (format!("{:.2}", ratio.ratio)) }
            }
        }
    }
}

fn place(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::super::recorded::tests::example;
    use super::*;

    #[test]
    fn the_best_peer_has_a_bar_and_the_others_have_none() {
        let drawn = picture(&example()).into_string();
        assert_eq!(drawn.matches("<rect").count(), 3, "two bars and the paper");
        assert!(drawn.contains("collapse/full-report/10x2 (NumPy)") && !drawn.contains("(neural-collapse)"), "{drawn}");
        assert!(drawn.contains(">10.00</text>"));
        assert!(!picture(&Recorded::default()).into_string().contains("NaN"));
    }
}
