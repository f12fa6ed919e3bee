#![doc = include_str!("../README.md")]

mod seed;

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use candle_core::{Result, Tensor, TensorId, Var};

use seed::Seed;

thread_local! {
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// The gradients by the arguments, from the arguments, the result and its gradient. The gradient by an argument that is constant
/// may be `None`, and is not used.
type Rule = Box<dyn Fn(&[Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// A recorded operation.
struct Node {
    /// The arguments; constant ones are detached.
    arguments: Vec<Argument>,
    /// The result, at which candle's graph of later operations ends.
    result: Var,
    rule: Rule,
}

/// A tensor that depends on the input, or a constant.
struct Argument {
    tensor: Tensor,
    /// The input and recorded results from which candle's operations computed the tensor; empty for a constant.
    leaves: Vec<Tensor>,
}

/// What has been recorded.
struct Recording {
    /// The input and the recorded results that depend on it.
    leaves: HashSet<TensorId>,
    nodes: Vec<Node>,
}

impl Recording {
    fn at(input: &Var) -> Self {
        Self { leaves: HashSet::from([input.id()]), nodes: Vec::new() }
    }

    /// `tensor` with its leaves, detached if it has none.
    fn argument(&self, tensor: &Tensor) -> Argument {
        let nodes = tensor.sorted_nodes().into_iter();
        let leaves: Vec<Tensor> = nodes.filter(|node| self.leaves.contains(&node.id())).cloned().collect();
        let tensor = if leaves.is_empty() { tensor.detach() } else { tensor.clone() };
        Argument { tensor, leaves }
    }
}

/// Whether a function is being recorded in this thread.
pub fn is_recording() -> bool {
    RECORDING.with_borrow(Option::is_some)
}

/// The result of an operation as a tensor with this rule: what an operation returns while [`is_recording`].
///
/// **Shapes** of the rule: it takes the arguments, the result and a gradient of the shape of the result, and returns one gradient, of
/// the shape of the argument, for each argument. It may be called repeatedly and in another thread.
///
/// **Conventions** Arguments that do not depend on the input of the recording, such as weights, reach the rule detached, and their
/// gradients are not used. If no argument depends on it, the result is a constant. Outside a recording the result has no gradient.
pub fn node<F>(result: Var, arguments: &[&Tensor], rule: F) -> Result<Tensor>
where
    F: Fn(&[Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync + 'static,
{
    RECORDING.with_borrow_mut(|recording| {
        let Some(recording) = recording else { return Ok(result.as_detached_tensor()) };
        let arguments: Vec<Argument> = arguments.iter().map(|argument| recording.argument(argument)).collect();
        if arguments.iter().all(|argument| argument.leaves.is_empty()) {
            return Ok(result.as_detached_tensor());
        }
        let tensor = result.as_tensor().clone();
        recording.leaves.insert(tensor.id());
        recording.nodes.push(Node { arguments, result, rule: Box::new(rule) });
        Ok(tensor)
    })
}

/// Runs `function`, which maps `input` to a tensor, and records its operations.
///
/// Only operations called by this thread are recorded. The function may call `record` itself.
///
/// # Errors
/// Those of the function.
pub fn record<E>(
    input: &Var,
    function: impl FnOnce() -> std::result::Result<Tensor, E>,
) -> std::result::Result<(Tensor, Tape), E> {
    /// Restores the outer recording even if the function panics.
    struct Restore(Option<Recording>);
    impl Drop for Restore {
        fn drop(&mut self) {
            RECORDING.set(self.0.take());
        }
    }
    let restore = Restore(RECORDING.replace(Some(Recording::at(input))));
    let output = function();
    // It is there: only this function takes it away, and it puts back what it found.
    let recorded = RECORDING.take().unwrap_or_else(|| Recording::at(input));
    drop(restore);
    let output = output?;
    let argument = recorded.argument(&output);
    Ok((output, Tape { input: input.clone(), leaves: recorded.leaves, nodes: recorded.nodes, output: argument }))
}

/// A function at one input: its recorded operations, and candle's graphs between them.
pub struct Tape {
    input: Var,
    leaves: HashSet<TensorId>,
    nodes: Vec<Node>,
    output: Argument,
}

impl Tape {
    /// Jᵀg for a gradient `g` of the shape of the output; `None` if the output does not depend on the input.
    ///
    /// Can be called repeatedly, and from several threads.
    ///
    /// # Errors
    /// Those of the rules and of candle's backward pass.
    pub fn vjp(&self, gradient: &Tensor) -> Result<Option<Tensor>> {
        let mut gradients = Gradients::default();
        gradients.send(&self.output, gradient)?;
        for node in self.nodes.iter().rev() {
            // A result that the output does not depend on has no gradient.
            let Some(gradient) = gradients.0.remove(&node.result.id()) else { continue };
            let arguments: Vec<Tensor> = node.arguments.iter().map(|argument| argument.tensor.clone()).collect();
            let by_arguments = (node.rule)(&arguments, node.result.as_tensor(), &gradient)?;
            for (argument, gradient) in node.arguments.iter().zip(by_arguments) {
                if let Some(gradient) = gradient {
                    gradients.send(argument, &gradient)?;
                }
            }
        }
        Ok(gradients.0.remove(&self.input.id()))
    }

    /// All tensors with gradients from the input to the output, each once.
    pub fn tensors(&self) -> Vec<Tensor> {
        let mut seen = HashSet::new();
        let arguments = self.nodes.iter().flat_map(|node| &node.arguments).chain([&self.output]);
        let tracked = arguments.filter(|argument| !argument.leaves.is_empty());
        let graphs = tracked.flat_map(|argument| argument.tensor.sorted_nodes().into_iter().cloned());
        graphs.filter(|tensor| seen.insert(tensor.id())).collect()
    }

    /// Whether `tensor` is the input or the result of a recorded operation.
    pub fn is_recorded(&self, tensor: &Tensor) -> bool {
        self.leaves.contains(&tensor.id())
    }
}

/// The gradients of the input and of recorded results.
#[derive(Default)]
struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// Adds the gradient by `to` to those of its leaves, through candle's operations between them.
    fn send(&mut self, to: &Argument, gradient: &Tensor) -> Result<()> {
        if let [leaf] = &to.leaves[..]
            && leaf.id() == to.tensor.id()
        {
            return self.add(leaf.id(), gradient.detach());
        }
        if let [leaf] = &to.leaves[..]
            && is_view(&to.tensor, leaf)
        {
            return self.add(leaf.id(), gradient.detach().reshape(leaf.shape())?);
        }
        if to.leaves.is_empty() {
            return Ok(());
        }
        let mut by_leaves = to.tensor.apply_op1(Seed(gradient.detach()))?.backward()?;
        for leaf in &to.leaves {
            if let Some(gradient) = by_leaves.remove(leaf) {
                self.add(leaf.id(), gradient)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, id: TensorId, gradient: Tensor) -> Result<()> {
        let sum = match self.0.remove(&id) {
            None => gradient,
            Some(sum) => (sum + gradient)?,
        };
        self.0.insert(id, sum);
        Ok(())
    }
}

/// Whether a tensor holds the elements of another in the same memory and order, as a reshape of it does.
fn is_view(tensor: &Tensor, of: &Tensor) -> bool {
    let place = |tensor: &Tensor| {
        let (storage, layout) = tensor.storage_and_layout();
        layout.contiguous_offsets().map(|offsets| (std::ptr::from_ref(&*storage), offsets))
    };
    place(tensor).is_some_and(|here| place(of) == Some(here))
}

#[cfg(test)]
mod tests;
