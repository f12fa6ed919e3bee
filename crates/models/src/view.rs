//! One view of a network's parameters, tracked or frozen, and its forward passes.

use std::sync::{Arc, OnceLock};

use candle_core::Tensor;
use gc_core::BatchNormMode;

use crate::layer::{Flatten, Layer, LayerInput, Sequential, forward_each};
use crate::layout::to_inside;
use crate::zoo::BodyAndHead;
use crate::{Error, Pass, Result};

/// A network whose parameters are all variables (tracked) or all constants (frozen).
pub struct View {
    layers: BodyAndHead,
    input_shape: Vec<usize>,
    has_batch_norm: bool,
    /// The same parameters as constants; none if this view is frozen itself.
    frozen: Option<Arc<View>>,
    /// The trainable parameters; none if this view is frozen.
    variables: Vec<Tensor>,
    /// Whether candle's graph differentiates a layer of the body, once it is known.
    by_graph: OnceLock<bool>,
}

impl View {
    /// These layers, for inputs of this shape.
    pub(crate) fn new(layers: BodyAndHead, input_shape: Vec<usize>, frozen: Option<Arc<View>>) -> Self {
        let has_batch_norm = layers.body.has_batch_norm();
        Self { layers, input_shape, has_batch_norm, frozen, variables: Vec::new(), by_graph: OnceLock::new() }
    }

    /// This view, in which these parameters are variables.
    pub(crate) fn with_variables(self, variables: Vec<Tensor>) -> Self {
        Self { variables, ..self }
    }

    /// The trainable parameters, in the order of their names; none if this view is frozen.
    pub(crate) fn variables(&self) -> &[Tensor] {
        &self.variables
    }

    /// Class scores `[n, k]`.
    ///
    /// **Errors** [`Error::Shape`](crate::Error::Shape) when the images do not have the architecture's size, or the features are not
    /// `[n, p]`.
    pub fn logits(&self, images: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.layers.head.forward(&self.features(images, pass)?, pass)
    }

    /// The features `[n, p]`: the input of the head. [`View::feature_layer`] names the layer that they are the output of.
    ///
    /// **Errors** as [`View::logits`].
    pub fn features(&self, images: &Tensor, pass: &Pass) -> Result<Tensor> {
        as_vectors(self.layers.body.forward(&self.to_inside(images)?, pass)?)
    }

    /// The class scores of features.
    ///
    /// **Errors** [`Error::Shape`](crate::Error::Shape) when the features are not `[n, p]`.
    pub fn head(&self, features: &Tensor, pass: &Pass) -> Result<Tensor> {
        self.layers.head.forward(features, pass)
    }

    /// Weight `[k, p]` and bias `[k]` of the head.
    pub fn head_parameters(&self) -> (&Tensor, &Tensor) {
        (self.layers.head.weight(), &self.layers.head_bias)
    }

    /// The names of the layers in forward order; the layers inside a residual block come before the block.
    pub fn layer_names(&self) -> Vec<String> {
        let mut names = self.layers.body.names();
        names.push(self.layers.head_name.clone());
        names
    }

    /// The name of the layer whose output are the features.
    ///
    /// ```
    /// use candle_core::{DType, Device};
    /// use models::{Architecture, Initialisation, Network};
    /// let layer = |text: &str| -> models::Result<Option<String>> {
    ///     let architecture = Architecture::from_toml(&format!("family = 'mlp'\ninputs = 2\nhidden = [3]\nclasses = 2\n{text}"))?;
    ///     let net = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    ///     Ok(net.frozen().feature_layer())
    /// };
    /// assert_eq!(layer("activation_before_head = true")?.as_deref(), Some("embed.1"));
    /// assert_eq!(layer("activation_before_head = false")?.as_deref(), Some("embed.0"));
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn feature_layer(&self) -> Option<String> {
        self.layers.body.names().pop()
    }

    /// The name of the head, the last linear layer.
    pub fn head_name(&self) -> &str {
        &self.layers.head_name
    }

    /// The output of any named layer, `[n, p]`, with images flattened in PyTorch's order (channel, row, column). `layer1` means
    /// the last layer of that group; a name may lead inside a residual block.
    ///
    /// **Errors** as [`View::logits`], and [`Error::UnknownName`](crate::Error::UnknownName) with the nearest names when there is
    /// no such layer.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::{Architecture, Error, Initialisation, Network, Pass};
    /// let architecture = Architecture::named("resnet18-cifar")?.with_width(0.0625).with_input(3, [8, 12]);
    /// let net = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let (images, pass) = (Tensor::zeros((2, 3, 8, 12), DType::F32, &Device::Cpu)?, Pass::evaluation());
    /// let at = |layer| net.frozen().features_at(&images, layer, &pass);
    /// assert_eq!(at("layer1")?.dims(), [2, 4 * 8 * 12]);
    /// assert_eq!(at("layer2.0.conv1")?.dims(), [2, 8 * 4 * 6]);
    /// assert_eq!(at("fc")?.to_vec2::<f32>()?, net.frozen().logits(&images, &pass)?.to_vec2::<f32>()?);
    /// assert!(matches!(at("layer9"), Err(Error::UnknownName { what: "layer", .. })));
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn features_at(&self, images: &Tensor, layer: &str, pass: &Pass) -> Result<Tensor> {
        self.up_to(layer)?.forward(&self.to_inside(images)?, pass)
    }

    /// The outputs of several layers `[n, p]`, each as by [`View::features_at`] and with the same bits. Layers that lead to several
    /// of them run once, so that the outputs of all layers cost one forward pass.
    ///
    /// **Errors** as [`View::features_at`].
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use models::{Architecture, Initialisation, Network, Pass};
    /// let architecture = Architecture::named("resnet18-cifar")?.with_width(0.0625).with_input(3, [8, 8]);
    /// let net = Network::new(&architecture, Initialisation::HeNormal, 0, DType::F32, &Device::Cpu)?;
    /// let (images, pass) = (Tensor::ones((2, 3, 8, 8), DType::F32, &Device::Cpu)?, Pass::evaluation());
    /// let names = ["layer1", "layer2.0.conv1", "fc"];
    /// let outputs = net.frozen().features_at_each(&images, &names, &pass)?;
    /// for (name, output) in names.iter().zip(outputs) {
    ///     let alone = net.frozen().features_at(&images, name, &pass)?;
    ///     assert_eq!(output.to_vec2::<f32>()?, alone.to_vec2::<f32>()?);
    /// }
    /// # Ok::<(), models::Error>(())
    /// ```
    pub fn features_at_each(&self, images: &Tensor, layers: &[impl AsRef<str>], pass: &Pass) -> Result<Vec<Tensor>> {
        let whole = self.whole();
        let sequences = layers.iter().map(|name| whole.up_to(name.as_ref())).collect::<Result<Vec<_>>>()?;
        let outputs = forward_each(&sequences, &self.to_inside(images)?, pass)?;
        outputs.iter().map(|output| Flatten.forward(output, pass)).collect()
    }

    /// Body and head.
    pub(crate) fn layers(&self) -> &BodyAndHead {
        &self.layers
    }

    /// The frozen view of the same parameters, if this one is tracked.
    pub(crate) fn as_frozen(&self) -> Option<&View> {
        self.frozen.as_deref()
    }

    /// The mode of batch norm in a pass.
    pub(crate) fn batch_norm_mode(&self, pass: &Pass) -> BatchNormMode {
        match (self.has_batch_norm, pass.batch_statistics) {
            (false, _) => BatchNormMode::Absent,
            (true, false) => BatchNormMode::Evaluation,
            (true, true) => BatchNormMode::Training,
        }
    }

    /// Whether candle's graph differentiates one of `layers`, which are the first layers of this view.
    pub(crate) fn is_by_graph(&self, layers: &Sequential, pass: &Pass) -> bool {
        // Without such a layer in the body there is none among its first layers.
        *self.by_graph.get_or_init(|| self.finds_graph(&self.layers.body, pass)) && self.finds_graph(layers, pass)
    }

    /// Whether candle's graph differentiates one of `layers`, seen at an input of zeros; `true` where that pass fails.
    fn finds_graph(&self, layers: &Sequential, pass: &Pass) -> bool {
        let weight = self.layers.head.weight();
        let shape: Vec<usize> = [1].into_iter().chain(self.input_shape.iter().copied()).collect();
        let by_graph = || -> Result<bool> {
            let zeros = Tensor::zeros(shape, weight.dtype(), weight.device())?;
            let input = LayerInput::new(&self.to_inside(&zeros)?).by_input();
            Ok(layers.tape(&input, &pass.without_update())?.1.by_graph())
        };
        by_graph().unwrap_or(true)
    }

    /// The first layer whose output is not finite, found with constant parameters and unchanged running statistics.
    pub(crate) fn first_non_finite_layer(&self, images: &Tensor, pass: &Pass) -> Option<String> {
        let view = self.as_frozen().unwrap_or(self);
        view.layers.body.first_non_finite(&view.to_inside(images).ok()?, &pass.without_update())
    }

    /// The layers from the images to the named one, with its output flattened.
    pub(crate) fn up_to(&self, layer: &str) -> Result<Sequential> {
        let mut layers = self.whole().up_to(layer)?;
        layers.push("flatten", Flatten);
        Ok(layers)
    }

    /// All layers, with the head as the last one.
    fn whole(&self) -> Sequential {
        let mut whole = self.layers.body.clone();
        whole.push_shared(self.layers.head_name.clone(), self.layers.head.clone());
        whole
    }

    /// A batch in the order inside a network, after a check of its shape.
    pub(crate) fn to_inside(&self, batch: &Tensor) -> Result<Tensor> {
        to_inside(batch, &self.input_shape)
    }
}

/// The features, after a check that they are vectors `[n, p]`.
pub(crate) fn as_vectors(features: Tensor) -> Result<Tensor> {
    if features.rank() == 2 {
        return Ok(features);
    }
    Err(Error::Shape {
        op: "features",
        left: features.dims().to_vec(),
        right: Vec::new(),
        rule: "the input of the head is [n, p]; end the body with a layer that reduces images or tokens, such as a mean over the \
               tokens, a class token, `GlobalAvgPool` or `Flatten`"
            .into(),
    })
}
