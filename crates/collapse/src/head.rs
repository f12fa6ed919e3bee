//! A linear classification head over the features.

#[cfg(feature = "candle")]
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::features::Element;
use crate::{Error, Result};

/// A linear head: scores W x + b.
///
/// **Shapes** weight `[K, p]`, one row for each class in the order of the labels; bias `[K]`, or none.
///
/// ```
/// use collapse::Head;
/// let head = Head::from_slices(&[1.0f64, 0.0, 0.0, 1.0], Some(&[0.5, -0.5]), 2)?;
/// assert_eq!((head.class_count(), head.feature_count()), (2, 2));
/// # Ok::<(), collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Parts")]
pub struct Head {
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
    class_count: usize,
    feature_count: usize,
}

impl Head {
    /// A head from tensors of any floating-point type: `weight` `[K, p]`, `bias` `[K]`.
    ///
    /// **Errors** [`Error::Shape`], [`Error::NonFinite`].
    #[cfg(feature = "candle")]
    pub fn new(weight: &Tensor, bias: Option<&Tensor>) -> Result<Self> {
        let &[class_count, _] = weight.dims() else {
            return Err(Self::wrong_shape(format!("{:?}", weight.dims())));
        };
        let read =
            |tensor: &Tensor| tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let bias = match bias {
            Some(bias) if bias.dims() != [class_count] => {
                return Err(Error::Shape {
                    operation: "classification head",
                    expected: format!("a bias [{class_count}]"),
                    actual: format!("{:?}", bias.dims()),
                });
            }
            bias => bias.map(read).transpose()?,
        };
        Self::from_slices(&read(weight)?, bias.as_deref(), class_count)
    }

    /// A head from row-major slices: `weight` `[K·p]`, `bias` `[K]`.
    ///
    /// **Errors** [`Error::Shape`], [`Error::NonFinite`].
    pub fn from_slices<E: Element>(weight: &[E], bias: Option<&[E]>, class_count: usize) -> Result<Self> {
        if class_count == 0 || weight.is_empty() || !weight.len().is_multiple_of(class_count) {
            return Err(Self::wrong_shape(format!("{} numbers for {class_count} classes", weight.len())));
        }
        let feature_count = weight.len() / class_count;
        if let Some(bias) = bias.filter(|bias| bias.len() != class_count) {
            return Err(Error::Shape {
                operation: "classification head",
                expected: format!("a bias [{class_count}]"),
                actual: format!("[{}]", bias.len()),
            });
        }
        let wide = |slice: &[E], width: usize| -> Result<Vec<f64>> {
            let numbers: Vec<f64> = slice.iter().map(|&value| value.wide()).collect();
            match numbers.iter().position(|value| !value.is_finite()) {
                None => Ok(numbers),
                Some(at) => Err(Error::NonFinite {
                    operation: "classification head",
                    row: at / width,
                    column: at % width,
                    value: numbers[at],
                }),
            }
        };
        let bias = bias.map(|bias| wide(bias, 1)).transpose()?;
        Ok(Self { weight: wide(weight, feature_count)?, bias, class_count, feature_count })
    }

    fn wrong_shape(actual: String) -> Error {
        Error::Shape { operation: "classification head", expected: "a weight [classes, features]".into(), actual }
    }

    /// Number of classes K.
    pub fn class_count(&self) -> usize {
        self.class_count
    }

    /// Number of features p.
    pub fn feature_count(&self) -> usize {
        self.feature_count
    }

    /// Weights, row-major `[K, p]`.
    pub fn weight(&self) -> &[f64] {
        &self.weight
    }

    /// Bias `[K]`, if there is one.
    pub fn bias(&self) -> Option<&[f64]> {
        self.bias.as_deref()
    }

    /// Weights of one class.
    pub(crate) fn row(&self, class: usize) -> &[f64] {
        &self.weight[class * self.feature_count..(class + 1) * self.feature_count]
    }

    /// Bias of one class, zero without a bias.
    pub(crate) fn offset(&self, class: usize) -> f64 {
        self.bias.as_ref().map_or(0.0, |bias| bias[class])
    }

    /// An error unless the head has the class count and feature count of the moments.
    pub(crate) fn require_fit(&self, operation: &'static str, moments: &crate::ClassMoments) -> Result<()> {
        let shape = |classes: usize, features: usize| format!("{classes} classes, {features} features");
        if (self.class_count, self.feature_count) == (moments.class_count(), moments.feature_count()) {
            return Ok(());
        }
        Err(Error::Incompatible {
            operation,
            what: "the shapes of head and moments",
            left: shape(self.class_count, self.feature_count),
            right: shape(moments.class_count(), moments.feature_count()),
        })
    }
}

/// The serialised form of [`Head`], checked when it is read.
#[derive(Deserialize)]
struct Parts {
    weight: Vec<f64>,
    bias: Option<Vec<f64>>,
    class_count: usize,
    feature_count: usize,
}

impl TryFrom<Parts> for Head {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        let head = Self::from_slices(&parts.weight, parts.bias.as_deref(), parts.class_count)?;
        if head.feature_count != parts.feature_count {
            return Err(Self::wrong_shape(format!(
                "{} features, but {} are stated",
                head.feature_count, parts.feature_count
            )));
        }
        Ok(head)
    }
}
