//! The conventions of collapse measures on the command line.

use clap::ValueEnum;
use collapse::{CdnvConvention, CdnvForm, Divisor, ReportOptions, Truncation, Weighting};

/// Choices in which definitions of the same measure differ.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Conventions")]
pub(super) struct ConventionArgs {
    /// Whether averages weight every class or every sample equally
    #[arg(long, value_enum, default_value_t)]
    weighting: WeightingName,
    /// Form of the CDNV of two classes, with V the variance and d the distance of the means
    #[arg(long, value_enum, default_value_t)]
    cdnv_form: FormName,
    /// Divisor of the variances in the CDNV
    #[arg(long, value_enum, default_value_t)]
    cdnv_divisor: DivisorName,
    /// Eigenvalues of Σ_B that NC1 keeps: those above this share of the largest one, or `rank` for the largest K − 1
    /// [default: 1e-10]
    #[arg(long, value_name = "SHARE", value_parser = truncation)]
    nc1_eigenvalues: Option<Truncation>,
}

/// [`Weighting`] on the command line.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum WeightingName {
    #[default]
    ClassBalanced,
    SampleWeighted,
}

/// [`CdnvForm`] on the command line.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum FormName {
    /// (V1 + V2)/(2 d²)
    #[default]
    Halved,
    /// (V1 + V2)/d²
    Unhalved,
    /// V1/d² of ordered pairs
    Ordered,
}

/// [`Divisor`] on the command line.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum DivisorName {
    /// The number n of samples
    #[default]
    Samples,
    /// n − 1
    SamplesMinusOne,
}

impl ConventionArgs {
    pub(super) fn cdnv(&self) -> CdnvConvention {
        let form = match self.cdnv_form {
            FormName::Halved => CdnvForm::Halved,
            FormName::Unhalved => CdnvForm::Unhalved,
            FormName::Ordered => CdnvForm::Ordered,
        };
        let divisor = match self.cdnv_divisor {
            DivisorName::Samples => Divisor::Samples,
            DivisorName::SamplesMinusOne => Divisor::SamplesMinusOne,
        };
        CdnvConvention { form, divisor }
    }

    pub(super) fn apply(&self, options: ReportOptions) -> ReportOptions {
        let weighting = match self.weighting {
            WeightingName::ClassBalanced => Weighting::ClassBalanced,
            WeightingName::SampleWeighted => Weighting::SampleWeighted,
        };
        let truncation = self.nc1_eigenvalues.unwrap_or_default();
        options.with_weighting(weighting).with_cdnv_convention(self.cdnv()).with_truncation(truncation)
    }
}

fn truncation(text: &str) -> Result<Truncation, String> {
    match (text, text.parse::<f64>()) {
        ("rank", _) => Ok(Truncation::Rank),
        (_, Ok(share)) if (0.0..1.0).contains(&share) => Ok(Truncation::Relative(share)),
        _ => Err("expected a share from 0 to below 1, such as 1e-10, or `rank`".to_owned()),
    }
}
