//! The input of a graph that is measured: one tensor of floats, whose first dimension is the sample.

use std::collections::HashSet;

use crate::build::Program;
use crate::measured::Chosen;
use crate::message::{self, Kind};
use crate::model::{needed, taken};
use crate::node::{Id, Node};
use crate::{Error, Result};

/// The input of a graph: its value, its name and the stated sizes.
#[derive(Clone)]
pub(crate) struct Input {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) sizes: Option<Vec<Option<usize>>>,
}

/// The inputs of a graph that have no value in the file.
pub(crate) struct Inputs<'a> {
    message: &'a message::Model<'a>,
    pub(crate) ids: Vec<Id>,
}

impl<'a> Inputs<'a> {
    pub(crate) fn of(message: &'a message::Model<'a>, program: &Program) -> Self {
        let id = |input: &message::ValueInfo| program.scope.get(input.name).copied();
        let without_value = |id: &Id| !program.constants.contains_key(id);
        Self { message, ids: message.graph.inputs.iter().filter_map(id).filter(without_value).collect() }
    }

    /// What the file states of an input.
    fn stated(&self, id: Id, program: &Program) -> Option<&message::ValueInfo<'a>> {
        self.message.graph.inputs.iter().find(|input| program.scope.get(input.name) == Some(&id))
    }

    /// Refuses inputs of integers, such as token ids, where there is none of floats beside them.
    fn require_floats(&self, used: &[Id], program: &Program) -> Result<()> {
        let is_whole = |id: &Id| {
            let stated = self.stated(*id, program);
            stated.is_some_and(|stated| Kind::of(stated.element).is_ok_and(|kind| !kind.is_float()))
        };
        match used.first() {
            Some(first) if used.iter().all(is_whole) => {
                Err(Error::IntegerInput { input: program.names[*first].clone() })
            }
            _ => Ok(()),
        }
    }

    /// The error of a graph in which no tensor could be chosen: integer inputs are the reason that the user can act on, whatever
    /// layers the graph has.
    pub(crate) fn instead_of(&self, error: Error, program: &Program) -> Error {
        if !matches!(error, Error::NoLinearLayer | Error::NoClassifier { .. }) {
            return error;
        }
        let nodes = needed(program.nodes.clone(), &program.outputs);
        self.require_floats(&self.used(&nodes, &program.outputs), program).err().unwrap_or(error)
    }

    /// The inputs that these nodes take, and those among `tensors`.
    fn used(&self, nodes: &[Node], tensors: &[Id]) -> Vec<Id> {
        let used: HashSet<Id> = nodes.iter().flat_map(taken).chain(tensors.iter().copied()).collect();
        self.ids.iter().copied().filter(|id| used.contains(id)).collect()
    }

    /// The one input on which the chosen tensor depends.
    pub(crate) fn one(
        &self,
        nodes: &[Node],
        chosen: &Chosen,
        dependent: &HashSet<Id>,
        program: &Program,
    ) -> Result<Input> {
        let name = |id: &Id| program.names[*id].clone();
        let used = self.used(nodes, &[chosen.id]);
        if !dependent.contains(&chosen.id) || used.is_empty() {
            let input = self.ids.first().map_or(String::new(), name);
            return Err(Error::Constant { tensor: name(&chosen.id), input });
        }
        self.require_floats(&used, program)?;
        let [id] = used[..] else { return Err(Error::Inputs { inputs: used.iter().map(name).collect() }) };
        let sizes = self.stated(id, program).and_then(|stated| stated.sizes.clone());
        match &sizes {
            Some(sizes) if !(2..=5).contains(&sizes.len()) => {
                Err(Error::InputRank { input: name(&id), rank: sizes.len() })
            }
            _ => Ok(Input { id, name: name(&id), sizes }),
        }
    }
}
