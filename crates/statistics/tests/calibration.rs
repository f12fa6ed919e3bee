//! The rule of verdicts decides at most 6 % of null hypotheses, for one claim and for the primary family.
//!
//! The level of the rule is 5 %. With D draws an observed share has a standard error of √(0.05 · 0.95/D); at 5000 draws
//! three of these are 0.9 %, so that a rule of 5 % stays below 6 % and one of 7 % does not.

mod simulation;

use rayon::prelude::*;
use simulation::{
    FAMILY, Null, NullContrast, Size, association_test, contrast_test, course_test, decided, null_runs, trend_test,
};
use statistics::{ClaimTest, Correction, DecisionRules};

const DRAWS: u64 = 5000;
const MOST: f64 = 0.06;
const SIZES: [Size; 2] = [Size { seeds: 3, values: 4 }, Size { seeds: 5, values: 4 }];

/// The shares of draws in which one claim (as primary, as exploratory) and any claim of the family are decided.
fn shares(null: Null, size: Size) -> [f64; 3] {
    let counts = (0..DRAWS)
        .into_par_iter()
        .map(|draw| {
            let claims: Vec<ClaimTest> =
                (0..FAMILY).map(|claim| trend_test(&null_runs(null, size, draw, claim))).collect();
            let one = |correction, level| {
                claims.iter().map(|claim| decided(std::slice::from_ref(claim), correction, level)).sum::<usize>()
            };
            let family = usize::from(decided(&claims, Correction::Holm, 0.05) > 0);
            [one(Correction::Holm, 0.05), one(Correction::BenjaminiHochberg, 0.1), family * FAMILY]
        })
        .reduce(|| [0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
    counts.map(|count| count as f64 / (DRAWS as usize * FAMILY) as f64)
}

#[test]
fn at_most_six_percent_of_null_trends_are_decided() {
    let nulls = [
        Null::PermutedWithinSeeds,
        Null::SharedSeedEffect(0.0),
        Null::SharedSeedEffect(0.25),
        Null::SharedSeedEffect(0.5),
        Null::RandomSlopes,
    ];
    for size in SIZES {
        for null in nulls {
            let found = shares(null, size);
            println!("{size:?} {null:?}: one primary, one exploratory, any of {FAMILY} primary: {found:.4?}");
            assert!(found.iter().all(|share| *share <= MOST), "{size:?} {null:?}: {found:?}");
            // A test that never decides anything would pass too: one claim is decided in some draws.
            assert!(found[0] > 0.002, "{size:?} {null:?}: {found:?}");
        }
    }
}

#[test]
fn slopes_of_equal_size_and_random_sign_are_the_limit_of_few_seeds() {
    // All three seeds have the same sign in a quarter of the draws, all five in 1/16. No rule that decides anything with three
    // seeds can exclude this. The book says so; this test keeps the figures.
    let [three, five] = SIZES.map(|size| shares(Null::SlopesOfEqualSize, size)[0]);
    println!("slopes of equal size: 3 seeds {three:.4}, 5 seeds {five:.4}");
    assert!(three > MOST && three < 0.26, "{three}");
    assert!(five < 0.07, "{five}");
}

#[test]
fn at_most_six_percent_of_null_associations_are_decided() {
    let draws = 5000;
    for size in SIZES {
        for (share, opposite_seeds) in [(0.0, false), (0.25, false), (0.5, false), (0.0, true)] {
            let count: usize = (0..draws)
                .into_par_iter()
                .map(|draw| decided(&[association_test(size, share, opposite_seeds, draw)], Correction::Holm, 0.05))
                .sum();
            let found = count as f64 / draws as f64;
            println!("association, {size:?}, ICC {share}, opposite seeds {opposite_seeds}: {found:.4}");
            assert!(found <= MOST && count > 0, "{size:?} {share} {opposite_seeds}: {found}");
        }
    }
}

#[test]
fn at_most_six_percent_of_random_walks_are_called_a_course() {
    for size in SIZES {
        let count: usize =
            (0..DRAWS).into_par_iter().map(|draw| decided(&[course_test(size, 5, draw)], Correction::Holm, 0.05)).sum();
        let found = count as f64 / DRAWS as f64;
        println!("course, {size:?}: {found:.4}");
        assert!(found <= MOST && count > 0, "{size:?}: {found}");
    }
}

#[test]
fn at_most_six_percent_of_null_contrasts_are_decided() {
    let nulls = [
        NullContrast::SharedSeedEffect(0.0),
        NullContrast::SharedSeedEffect(0.5),
        NullContrast::HeavyTails,
        NullContrast::RandomDifferences,
    ];
    let holm = DecisionRules { correction: Correction::Holm, level: 0.05 };
    let exploratory = DecisionRules { correction: Correction::BenjaminiHochberg, level: 0.1 };
    // With 3 seeds the sign-flip test never takes part, with 5 in exploratory claims, with 10 in every family.
    for seeds in [3, 5, 10] {
        for null in nulls {
            let test =
                |draw, claim, rules: &DecisionRules, claims| contrast_test(null, seeds, draw, claim, rules, claims);
            let counts = (0..DRAWS)
                .into_par_iter()
                .map(|draw| {
                    let one = |rules: &DecisionRules| {
                        let decided = |claim| decided(&[test(draw, claim, rules, 1)], rules.correction, rules.level);
                        (0..FAMILY).map(decided).sum::<usize>()
                    };
                    let family: Vec<ClaimTest> = (0..FAMILY).map(|claim| test(draw, claim, &holm, FAMILY)).collect();
                    let any = usize::from(decided(&family, Correction::Holm, 0.05) > 0);
                    [one(&holm), one(&exploratory), any * FAMILY]
                })
                .reduce(|| [0; 3], |a, b| [a[0] + b[0], a[1] + b[1], a[2] + b[2]]);
            let found = counts.map(|count| count as f64 / (DRAWS as usize * FAMILY) as f64);
            println!("contrast, {seeds} seeds, {null:?}: one primary, one exploratory, any of {FAMILY}: {found:.4?}");
            assert!(found.iter().all(|share| *share <= MOST), "{seeds} {null:?}: {found:?}");
            assert!(found[0] > 0.01, "{seeds} {null:?}: {found:?}");
        }
    }
}
