//! LSTM and GRU with their default activations, and RNN.

use candle_core::Tensor;
use ops::Activation;

use super::arithmetic::{add, multiply};
use super::linear::product;
use super::{Call, one};
use crate::Result;
use crate::error::{operand, unsupported};
use crate::node::Node;
use crate::value::Value;

/// The weights of one direction.
struct Direction {
    /// `[inputs, gates·hidden]` and `[hidden, gates·hidden]`.
    input: Tensor,
    recurrent: Tensor,
    /// The biases of the input and of the recurrence, `[gates·hidden]`.
    biases: [Tensor; 2],
    /// The diagonal weights from the cell to the gates of an LSTM, `[3·hidden]`.
    peepholes: Option<Tensor>,
    /// The activation of an RNN.
    activation: Activation,
}

/// The state of one direction: hidden, and the cell of an LSTM.
struct State {
    hidden: Tensor,
    cell: Option<Tensor>,
}

fn sigmoid(x: &Tensor) -> Result<Tensor> {
    Ok(Activation::Sigmoid.forward(&x.contiguous()?)?)
}

fn tanh(x: &Tensor) -> Result<Tensor> {
    Ok(Activation::Tanh.forward(x)?)
}

pub(super) fn recurrent(call: &Call) -> Result<Vec<Value>> {
    let node = call.node;
    let (is_lstm, is_rnn) = (node.op == "LSTM", node.op == "RNN");
    let batch_first = node.flag("layout", false)?;
    let x = call.float(0)?;
    let x = if batch_first { x.transpose(0, 1)?.contiguous()? } else { x.clone() };
    let (steps, batch, _) = x.dims3()?;
    let (weights, recurrence) = (call.float(1)?, call.float(2)?);
    let (directions, rows, hidden) = recurrence.dims3()?;
    if let Some(lengths) = call.optional(4)
        && lengths.whole()?.data.iter().any(|length| *length != steps as i64)
    {
        return Err(unsupported("a batch of sequences of different lengths"));
    }
    let initial = |at: usize, direction: usize| -> Result<Tensor> {
        match call.optional_float(at)? {
            None => Ok(Tensor::zeros((batch, hidden), x.dtype(), x.device())?),
            Some(state) => {
                let axis = usize::from(batch_first);
                Ok(state.narrow(axis, direction, 1)?.squeeze(axis)?.contiguous()?)
            }
        }
    };
    let (mut outputs, mut last, mut cells) = (Vec::new(), Vec::new(), Vec::new());
    for direction in 0..directions {
        let own = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.narrow(0, direction, 1)?.squeeze(0)?.contiguous()?) };
        let biases = match call.optional_float(3)? {
            Some(biases) => {
                let both = own(biases)?;
                [both.narrow(0, 0, rows)?.contiguous()?, both.narrow(0, rows, rows)?.contiguous()?]
            }
            None => {
                let zero = Tensor::zeros(rows, x.dtype(), x.device())?;
                [zero.clone(), zero]
            }
        };
        let peepholes = if is_lstm { call.optional_float(7)?.map(own).transpose()? } else { None };
        let weights = Direction {
            input: own(weights)?.t()?.contiguous()?,
            recurrent: own(recurrence)?.t()?.contiguous()?,
            biases,
            peepholes,
            activation: if is_rnn {
                activations(node)?.get(direction).copied().unwrap_or(Activation::Tanh)
            } else {
                Activation::Tanh
            },
        };
        let cell = if is_lstm { Some(initial(6, direction)?) } else { None };
        let mut state = State { hidden: initial(5, direction)?, cell };
        let reversed = direction == 1 || node.text("direction", "forward")? == "reverse";
        let mut sequence = vec![None; steps];
        for step in 0..steps {
            let at = if reversed { steps - 1 - step } else { step };
            let input = x.narrow(0, at, 1)?.squeeze(0)?.contiguous()?;
            state = advanced(call, &weights, &input, state, hidden)?;
            sequence[at] = Some(state.hidden.clone());
        }
        let sequence: Vec<Tensor> = sequence.into_iter().flatten().collect();
        outputs.push(Tensor::stack(&sequence, 0)?);
        last.push(state.hidden);
        cells.extend(state.cell);
    }
    // [steps, directions, batch, hidden], or [batch, steps, directions, hidden].
    let y = Tensor::stack(&outputs, 1)?;
    let y = if batch_first { y.permute((2, 0, 1, 3))?.contiguous()? } else { y };
    let stacked = |states: &[Tensor]| -> Result<Value> { Ok(Tensor::stack(states, usize::from(batch_first))?.into()) };
    let mut results = one(y)?;
    results.push(stacked(&last)?);
    if is_lstm {
        results.push(stacked(&cells)?);
    }
    Ok(results)
}

fn advanced(call: &Call, weights: &Direction, x: &Tensor, state: State, hidden: usize) -> Result<State> {
    let gate =
        |gates: &Tensor, at: usize| -> Result<Tensor> { Ok(gates.narrow(1, at * hidden, hidden)?.contiguous()?) };
    let from_input = add(&product(x, &weights.input)?, &weights.biases[0])?;
    match call.node.op.as_str() {
        "LSTM" => {
            let gates = from_input.add(&add(&product(&state.hidden, &weights.recurrent)?, &weights.biases[1])?)?;
            let cell = state.cell.ok_or_else(|| operand("there is no cell"))?;
            let peep = |gate: Tensor, cell: &Tensor, at: usize| -> Result<Tensor> {
                match &weights.peepholes {
                    None => Ok(gate),
                    Some(peepholes) => Ok(gate.add(&multiply(cell, &peepholes.narrow(0, at * hidden, hidden)?)?)?),
                }
            };
            // The order of the gates is input, output, forget, cell.
            let input = sigmoid(&peep(gate(&gates, 0)?, &cell, 0)?)?;
            let forget = sigmoid(&peep(gate(&gates, 2)?, &cell, 2)?)?;
            let cell = forget.mul(&cell)?.add(&input.mul(&tanh(&gate(&gates, 3)?)?)?)?;
            let output = sigmoid(&peep(gate(&gates, 1)?, &cell, 1)?)?;
            Ok(State { hidden: output.mul(&tanh(&cell)?)?, cell: Some(cell) })
        }
        "GRU" => {
            let [update, reset] = [0, 1].map(|at| -> Result<Tensor> {
                let own = weights.recurrent.narrow(1, at * hidden, hidden)?.contiguous()?;
                let bias = weights.biases[1].narrow(0, at * hidden, hidden)?;
                sigmoid(&gate(&from_input, at)?.add(&add(&product(&state.hidden, &own)?, &bias)?)?)
            });
            let (update, reset) = (update?, reset?);
            let own = weights.recurrent.narrow(1, 2 * hidden, hidden)?.contiguous()?;
            let bias = weights.biases[1].narrow(0, 2 * hidden, hidden)?;
            let recurrent = if call.node.flag("linear_before_reset", false)? {
                reset.mul(&add(&product(&state.hidden, &own)?, &bias)?)?
            } else {
                add(&product(&reset.mul(&state.hidden)?, &own)?, &bias)?
            };
            let candidate = tanh(&gate(&from_input, 2)?.add(&recurrent)?)?;
            // (1 − z)·candidate + z·hidden.
            let hidden = candidate.add(&update.mul(&state.hidden.sub(&candidate)?)?)?;
            Ok(State { hidden, cell: None })
        }
        _ => {
            let sum = from_input.add(&add(&product(&state.hidden, &weights.recurrent)?, &weights.biases[1])?)?;
            Ok(State { hidden: weights.activation.forward(&sum.contiguous()?)?, cell: None })
        }
    }
}

/// The activations of an RNN, by direction.
fn activations(node: &Node) -> Result<Vec<Activation>> {
    let of = |name: &String| match name.to_ascii_lowercase().as_str() {
        "tanh" => Ok(Activation::Tanh),
        "relu" => Ok(Activation::Relu),
        "sigmoid" => Ok(Activation::Sigmoid),
        _ => Err(unsupported(format!("activation {name}"))),
    };
    node.texts("activations")?.unwrap_or_default().iter().map(of).collect()
}

pub(super) fn refuses(node: &Node) -> Option<String> {
    let activations = node.texts("activations").ok()?.unwrap_or_default();
    let defaults: &[&str] = match node.op.as_str() {
        "LSTM" => &["sigmoid", "tanh", "tanh"],
        "GRU" => &["sigmoid", "tanh"],
        _ => &[],
    };
    let is_default =
        activations.iter().zip(defaults.iter().cycle()).all(|(own, known)| own.eq_ignore_ascii_case(known));
    let is_known = if defaults.is_empty() { self::activations(node).is_ok() } else { is_default };
    if !is_known {
        return Some(format!("activations = {activations:?}"));
    }
    if node.float("clip", 0.0).ok()? != 0.0 {
        return Some("clip".to_owned());
    }
    node.flag("input_forget", false).ok()?.then(|| "input_forget = 1".to_owned())
}
