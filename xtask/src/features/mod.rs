//! Commands on features that any program computed: their collapse, and the accuracy of few-shot heads on them.

mod bounds;
mod class_pairs;
mod collapse_measures;
mod conventions;
mod episodes;
mod few_shot;
mod labelled;
mod networks;
mod training_path;

pub(crate) use collapse_measures::{Args as CollapseArgs, collapse_measures, rows as collapse_rows, with_flag};
pub(crate) use few_shot::{Args as FewShotArgs, few_shot, heads as few_shot_heads};
pub(crate) use labelled::{FeaturesArgs, LabelledFile, check_class_count};
