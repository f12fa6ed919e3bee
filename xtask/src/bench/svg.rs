//! A bar chart of the comparisons of the summary: one bar is a peer's cost of a piece of work divided by ours.

use maud::{Markup, html};

use super::named::{Named, SUMMARY, range, shown};
use super::recorded::{Ratio, Recorded};

const ROW: f64 = 46.0;
const LEFT: f64 = 24.0;
const WIDTH: f64 = 640.0;
const TOP: f64 = 74.0;

/// Colours of this page's pictures. Each picture has a background of its own, for light and dark pages.
pub(super) const STYLE: &str = "text{font:12px sans-serif;fill:#333}.head{font-weight:bold}.paper{fill:#fff}\
.bar,.point{fill:#2a6f97}.loss{fill:#b4552d}.grid{stroke:#ddd}.one{stroke:#333}\
.fit,.roof{fill:none;stroke:#2a6f97;stroke-width:1.5}.roof{stroke:#b4552d;stroke-dasharray:5 4}\
@media(prefers-color-scheme:dark){text{fill:#ddd}.paper{fill:#1d2030}.grid{stroke:#3a3f55}.one{stroke:#ddd}\
.bar,.point{fill:#61a5c2}.loss{fill:#e08a5b}.fit{stroke:#61a5c2}.roof{stroke:#e08a5b}}";

/// The picture: bars on a logarithmic axis from 1, where both costs are equal. What is not recorded is left out.
pub(super) fn picture(recorded: &Recorded) -> Markup {
    let bars: Vec<(&Named, Ratio)> =
        SUMMARY.iter().filter_map(|named| Some((named, named.recorded(recorded)?))).collect();
    let ratios = || bars.iter().map(|(_, ratio)| ratio.ratio);
    let low = ratios().fold(1.0, f64::min).log2().floor();
    let high = ratios().fold(2.0, f64::max).log2().ceil();
    let x = |ratio: f64| LEFT + (ratio.log2() - low) / (high - low) * WIDTH;
    let height = TOP + ROW * bars.len() as f64 + 12.0;
    let ticks: Vec<f64> = (low as i32..=high as i32).map(|power| 2f64.powi(power)).collect();
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {:.0} {height:.0}", LEFT + WIDTH + 76.0)) role="img" {
            title { "Time of a peer divided by our time, for each piece of work; above 1 ours takes less" }
            style { (STYLE) }
            rect class="paper" width="100%" height=(place(height)) {}
            text class="head" x=(place(LEFT)) y="22" { "Time of the peer ÷ our time (logarithmic axis; right of 1: ours takes less time)" }
            @for tick in ticks {
                line class=(if tick == 1.0 { "one" } else { "grid" }) x1=(place(x(tick))) x2=(place(x(tick))) y1=(place(TOP - 14.0)) y2=(place(height - 8.0)) {}
                text x=(place(x(tick))) y=(place(TOP - 22.0)) text-anchor="middle" { (tick) "×" }
            }
            @for (index, (named, ratio)) in bars.iter().enumerate() {
                @let y = TOP + ROW * index as f64;
                @let ends = (x(ratio.ratio).min(x(1.0)), x(ratio.ratio).max(x(1.0)));
                text x=(place(LEFT + 6.0)) y=(place(y + 13.0)) { (named.words) ", against " (ratio.peer) }
                rect class=(if ratio.ratio < 1.0 { "loss" } else { "bar" }) x=(place(ends.0)) y=(place(y + 19.0)) width=(place(ends.1 - ends.0)) height="16" {
                    title { (format!("{}: {} times our time, by {}; {}", named.words, shown(ratio.ratio), ratio.peer, range(ratio))) }
                }
                text x=(place(ends.1 + 6.0)) y=(place(y + 32.0)) { (shown(ratio.ratio)) "×" }
            }
        }
    }
}

fn place(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::super::recorded::OURS;
    use super::super::recorded::tests::{example, figure};
    use super::*;

    #[test]
    fn named_comparisons_have_a_bar_and_the_axis_says_what_it_counts() {
        let mut recorded = example();
        let work = "gc/exact, vgg13, p=512/each image of 3x32x32, cpu";
        let session = &mut recorded.topics.get_mut("collapse").unwrap()[0];
        session.figures.extend([figure(work, OURS, &[1.0], None), figure(work, "PyTorch", &[3.4], None)]);
        let drawn = picture(&recorded).into_string();
        assert_eq!(drawn.matches("<rect").count(), 2, "a bar and the paper: other figures have no name");
        assert!(
            drawn.contains("exact GC of VGG-13, an image, against PyTorch") && drawn.contains(">3.4×</text>"),
            "{drawn}"
        );
        assert!(drawn.contains("Time of the peer ÷ our time"));
        assert!(!picture(&Recorded::default()).into_string().contains("NaN"));
    }
}
