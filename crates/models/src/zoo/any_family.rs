//! Any family behind one pointer.

use std::any::Any;
use std::fmt::Debug;

use ops::Activation;
use serde::Serialize;

use super::family::ImagePositions;
use super::{BodyAndHead, Family};
use crate::Result;
use crate::params::Builder;

/// The methods of [`Family`] and its derived traits, without its type.
pub(super) trait AnyFamily: Debug + Send + Sync {
    fn name(&self) -> &'static str;
    fn cloned(&self) -> Box<dyn AnyFamily>;
    fn is(&self, other: &dyn AnyFamily) -> bool;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
    fn to_json(&self) -> serde_json::Result<serde_json::Value>;
    fn to_toml(&self) -> std::result::Result<String, toml::ser::Error>;
    fn classes(&self) -> usize;
    fn set_classes(&mut self, classes: usize);
    fn input_shape(&self) -> Vec<usize>;
    fn set_input(&mut self, channels: usize, size: [usize; 2]);
    fn scale_width(&mut self, factor: f64);
    fn set_activation(&mut self, activation: Activation);
    fn has_batch_norm(&self) -> bool;
    fn head_name(&self) -> String;
    fn image_positions(&self) -> Option<ImagePositions>;
    fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead>;
}

/// A family's table: its name, then its keys.
#[derive(Serialize)]
struct Table<'a, F> {
    family: &'static str,
    #[serde(flatten)]
    config: &'a F,
}

impl<F: Family> AnyFamily for F {
    fn name(&self) -> &'static str {
        F::NAME
    }

    fn cloned(&self) -> Box<dyn AnyFamily> {
        Box::new(self.clone())
    }

    fn is(&self, other: &dyn AnyFamily) -> bool {
        other.as_any().downcast_ref::<F>() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn to_json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::to_value(Table { family: F::NAME, config: self })
    }

    fn to_toml(&self) -> std::result::Result<String, toml::ser::Error> {
        toml::to_string(&Table { family: F::NAME, config: self })
    }

    fn classes(&self) -> usize {
        Family::classes(self)
    }

    fn set_classes(&mut self, classes: usize) {
        Family::set_classes(self, classes);
    }

    fn input_shape(&self) -> Vec<usize> {
        Family::input_shape(self)
    }

    fn set_input(&mut self, channels: usize, size: [usize; 2]) {
        Family::set_input(self, channels, size);
    }

    fn scale_width(&mut self, factor: f64) {
        Family::scale_width(self, factor);
    }

    fn set_activation(&mut self, activation: Activation) {
        Family::set_activation(self, activation);
    }

    fn has_batch_norm(&self) -> bool {
        Family::has_batch_norm(self)
    }

    fn head_name(&self) -> String {
        Family::head_name(self)
    }

    fn image_positions(&self) -> Option<ImagePositions> {
        Family::image_positions(self)
    }

    fn build(&self, builder: Builder<'_>) -> Result<BodyAndHead> {
        Family::build(self, builder)
    }
}
