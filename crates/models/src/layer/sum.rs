//! Two paths from one input, added: what residual networks are made of.

use std::mem::take;

use candle_core::Tensor;

use super::{Arrived, ByParameter, Cotangents, Kept, Layer, Pairings, Record, Relu, Stack, Traced};
use crate::{Error, Pass, Result};
use ops::{gate_each, plain_sum};

/// branch(x) + shortcut(x); an empty shortcut is x itself.
pub(crate) struct Sum {
    pub(crate) branch: Stack,
    pub(crate) shortcut: Stack,
}

impl Sum {
    fn traced<'a>(&'a self, arrived: &Arrived, relu: Option<Relu>, pass: &Pass) -> Result<Traced<'a>> {
        let wanted = arrived.wanted;
        let entering = || Arrived { recorded: arrived.recorded, ..Arrived::entering(&arrived.x, wanted) };
        let (through_branch, mut branch) = self.branch.trace(entering(), pass)?;
        let (through_shortcut, mut shortcut) = self.shortcut.trace(entering(), pass)?;
        let kept = arrived.keep(|| Kept::Paths(vec![take(&mut branch.records), take(&mut shortcut.records)]));
        let y = plain_sum(&through_branch, &through_shortcut, relu.is_some())?;
        let inside = branch.footprint.and(shortcut.footprint);
        let wants = wanted || !branch.is_empty() || !shortcut.is_empty();
        let reference = (relu == Some(Relu::Gates)).then(|| y.clone());
        let back = move |g: &Tensor, into: &mut ByParameter| -> Result<Option<Tensor>> {
            let g = reference.as_ref().map_or_else(|| Ok(g.clone()), |reference| gate_each(g, reference))?;
            let (one, other) = (branch.pullback(&g, into)?, shortcut.pullback(&g, into)?);
            match (one, other) {
                (Some(one), Some(other)) if wanted => Ok(Some(plain_sum(&one, &other, false)?)),
                _ => Ok(None),
            }
        };
        Ok(Traced { inside, kept, ..Traced::leaf(y, wants, back) })
    }
}

impl Layer for Sum {
    fn trace<'a>(&'a self, arrived: &Arrived, pass: &Pass) -> Result<Traced<'a>> {
        self.traced(arrived, None, pass)
    }

    fn trace_with_relu<'a>(&'a self, arrived: &Arrived, relu: Relu, pass: &Pass) -> Result<Option<Traced<'a>>> {
        self.traced(arrived, Some(relu), pass).map(Some)
    }

    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor> {
        Ok((self.branch.forward(x, pass)? + self.shortcut.forward(x, pass)?)?)
    }

    fn jvp(&self, x: &Tensor, dx: &Tensor, pass: &Pass) -> Result<(Tensor, Tensor)> {
        let (branch, d_branch) = self.branch.jvp(x, dx, pass)?;
        let (shortcut, d_shortcut) = self.shortcut.jvp(x, dx, pass)?;
        Ok(((branch + shortcut)?, (d_branch + d_shortcut)?))
    }

    fn names_inside(&self) -> Vec<String> {
        [self.branch.names(), self.shortcut.names()].concat()
    }

    fn find_inside(&self, name: &str) -> Option<Stack> {
        self.branch.find(name).or_else(|| self.shortcut.find(name))
    }

    fn record(&self, x: &Tensor, pass: &Pass) -> Result<Record> {
        let (branch, shortcut) = (self.branch.record(x, pass)?, self.shortcut.record(x, pass)?);
        let output = |records: &[Record]| records.last().map_or(x, |record| &record.y).clone();
        let y = (output(&branch) + output(&shortcut))?;
        Ok(Record { kept: Kept::Paths(vec![branch, shortcut]), ..Record::leaf(x, y) })
    }

    fn pullback(&self, record: &Record, g: &Tensor, pass: &Pass) -> Result<Cotangents> {
        let [branch, shortcut] = both(paths(record))?;
        let (branch, through_branch) = self.branch.pullback(branch, g, pass)?;
        let (shortcut, through_shortcut) = self.shortcut.pullback(shortcut, g, pass)?;
        let input = (through_branch + through_shortcut)?;
        Ok(Cotangents { output: g.clone(), input, inner: vec![branch, shortcut] })
    }

    fn pair(
        &self,
        record: &Record,
        cotangents: Cotangents,
        t: &Tensor,
        pass: &Pass,
        pairings: &mut Pairings<'_>,
    ) -> Result<Tensor> {
        let ([branch, shortcut], [at_branch, at_shortcut]) = (both(paths(record))?, both(cotangents.inner)?);
        let through_branch = self.branch.pair(branch, at_branch, t, pass, pairings)?;
        let through_shortcut = self.shortcut.pair(shortcut, at_shortcut, t, pass, pairings)?;
        Ok((through_branch + through_shortcut)?)
    }
}

/// What a sum recorded of its paths.
fn paths(record: &Record) -> &[Vec<Record>] {
    match &record.kept {
        Kept::Paths(paths) => paths,
        _ => &[],
    }
}

/// What a sum has of its branch and of its shortcut.
fn both<T>(inner: impl IntoIterator<Item = T>) -> Result<[T; 2]> {
    let inner: Vec<T> = inner.into_iter().collect();
    inner.try_into().map_err(|inner: Vec<T>| Error::Setting {
        op: "sum of two paths",
        name: "recorded paths",
        value: inner.len().to_string(),
        rule: "a sum records its branch and its shortcut",
    })
}
