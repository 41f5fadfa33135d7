//! Which of several functions of a name a call means, as PostgreSQL decides it.

use crate::catalog::pg::coercion::{UNKNOWN, category, is_implicit, is_preferred};
use crate::storage::function::{Function, Mode};

/// What a parameter is given by a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// The argument at that place.
    Given(usize),
    /// The argument from that place on, as an array.
    Rest(usize),
    /// Its default.
    Default,
}

/// What the parameters of a function are given, in their order; `None` where it does not take such arguments. `names` has
/// one for each argument that is given by the name of its parameter.
pub(super) fn fit(function: &Function, names: &[Option<String>]) -> Option<Vec<Slot>> {
    let inputs: Vec<_> = function.inputs().collect();
    let mut slots: Vec<Option<Slot>> = vec![None; inputs.len()];
    let is_variadic = inputs.last().is_some_and(|p| p.mode == Mode::Variadic);
    for (at, name) in names.iter().enumerate() {
        let place = match name {
            Some(name) => inputs.iter().position(|p| p.name.as_ref() == Some(name))?,
            None if is_variadic && at >= inputs.len() => continue,
            None => at,
        };
        let slot = match is_variadic && name.is_none() && place + 1 == inputs.len() {
            true => Slot::Rest(at),
            false => Slot::Given(at),
        };
        if slots.get_mut(place)?.replace(slot).is_some() {
            return None;
        }
    }
    let filled = slots.into_iter().zip(inputs);
    let filled = filled.map(|(slot, parameter)| {
        slot.or_else(|| parameter.default.as_ref().map(|_| Slot::Default))
    });
    filled.collect()
}

/// A function that a call may mean.
pub(super) struct Candidate {
    /// The types that it wants of the arguments, in the order of these.
    pub types: Vec<u32>,
    /// How many parameters get their defaults.
    pub defaults: usize,
    /// Whether arguments become elements of an array.
    pub is_variadic: bool,
}

/// What a call means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The candidate at that place.
    One(usize),
    /// None.
    None,
    /// Several equally well.
    Several,
}

/// The candidate that fits arguments of these types best.
pub(super) fn best(candidates: &[Candidate], arguments: &[u32]) -> Meaning {
    let accepts = |at: &usize| {
        let types = candidates[*at].types.iter().zip(arguments);
        types.clone().all(|(to, from)| is_implicit(*from, *to))
    };
    let mut left: Vec<usize> = (0..candidates.len()).filter(accepts).collect();
    if left.is_empty() {
        return Meaning::None;
    }
    keep_most(&mut left, |at| exact(&candidates[at], arguments));
    keep_most(&mut left, |at| {
        exact_or_preferred(&candidates[at], arguments)
    });
    for (place, _) in arguments
        .iter()
        .enumerate()
        .filter(|(_, of)| **of == UNKNOWN)
    {
        keep_by_category(&mut left, |at| candidates[at].types[place]);
    }
    keep_most(&mut left, |at| usize::from(!candidates[at].is_variadic));
    keep_most(&mut left, |at| usize::MAX - candidates[at].defaults);
    match left.as_slice() {
        [one] => Meaning::One(*one),
        _ => Meaning::Several,
    }
}

fn keep_most(left: &mut Vec<usize>, score: impl Fn(usize) -> usize) {
    let most = left.iter().map(|at| score(*at)).max();
    left.retain(|at| Some(score(*at)) == most);
}

fn exact(candidate: &Candidate, arguments: &[u32]) -> usize {
    let types = candidate.types.iter().zip(arguments);
    types.filter(|(to, from)| to == from).count()
}

fn exact_or_preferred(candidate: &Candidate, arguments: &[u32]) -> usize {
    let types = candidate.types.iter().zip(arguments);
    types
        .filter(|(to, from)| **from != UNKNOWN && (to == from || is_preferred(**to)))
        .count()
}

/// A literal is taken for a text where one is wanted, else for what all candidates want of it.
fn keep_by_category(left: &mut Vec<usize>, wanted: impl Fn(usize) -> u32) {
    let of_text = |at: &usize| category(wanted(*at)) == "S";
    if left.iter().any(of_text) {
        left.retain(of_text);
    }
    let preferred = |at: &usize| is_preferred(wanted(*at));
    let first = left.first().map(|at| category(wanted(*at)));
    if left.iter().all(|at| Some(category(wanted(*at))) == first) && left.iter().any(preferred) {
        left.retain(preferred);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::change::QualifiedName;
    use crate::storage::function::{Body, Hints, Parameter, Returns, ValueType, Volatility};
    use crate::storage::schema::{ColumnType, FunctionId};

    const INT4: u32 = 23;
    const INT8: u32 = 20;
    const FLOAT8: u32 = 701;
    const TEXT: u32 = 25;
    const DATE: u32 = 1082;

    fn candidate(types: &[u32]) -> Candidate {
        Candidate {
            types: types.to_vec(),
            defaults: 0,
            is_variadic: false,
        }
    }

    fn meaning(candidates: &[&[u32]], arguments: &[u32]) -> Meaning {
        let all: Vec<_> = candidates.iter().map(|types| candidate(types)).collect();
        best(&all, arguments)
    }

    #[test]
    fn types_that_fit_best_win() {
        let numbers: [&[u32]; 2] = [&[INT8], &[FLOAT8]];
        assert_eq!(meaning(&numbers, &[INT8]), Meaning::One(0));
        // Of those that are no exact match, the preferred type of the category.
        assert_eq!(meaning(&numbers, &[INT4]), Meaning::One(1));
        assert_eq!(meaning(&numbers, &[TEXT]), Meaning::None);
        assert_eq!(meaning(&[&[INT4], &[TEXT]], &[UNKNOWN]), Meaning::One(1));
        assert_eq!(meaning(&[&[INT4], &[FLOAT8]], &[UNKNOWN]), Meaning::One(1));
        assert_eq!(meaning(&[&[INT4], &[DATE]], &[UNKNOWN]), Meaning::Several);
        let crossed: [&[u32]; 2] = [&[INT4, INT8], &[INT8, INT4]];
        assert_eq!(meaning(&crossed, &[INT4, INT4]), Meaning::Several);
        assert_eq!(meaning(&crossed, &[INT4, UNKNOWN]), Meaning::One(0));
    }

    #[test]
    fn what_needs_no_default_wins() {
        let mut with_default = candidate(&[INT4]);
        with_default.defaults = 1;
        let all = [with_default, candidate(&[INT4])];
        assert_eq!(best(&all, &[INT4]), Meaning::One(1));
    }

    fn function(parameters: &[(&str, Mode, bool)]) -> Function {
        let parameter = |(name, mode, has_default): &(&str, Mode, bool)| Parameter {
            name: Some((*name).to_string()),
            mode: *mode,
            value_type: ValueType {
                column_type: ColumnType::Integer,
                domain: None,
            },
            default: has_default.then(|| "1".to_string()),
        };
        Function {
            id: FunctionId(1),
            name: QualifiedName::new("public", "f"),
            parameters: parameters.iter().map(parameter).collect(),
            returns: Returns::Record,
            returns_set: false,
            body: Body::Text(String::new()),
            volatility: Volatility::Volatile,
            is_strict: false,
            is_definer: false,
            hints: Hints::default(),
            search_path: None,
        }
    }

    fn fitted(of: &Function, names: &[&str]) -> Option<Vec<Slot>> {
        let name = |name: &&str| (!name.is_empty()).then(|| (*name).to_string());
        fit(of, &names.iter().map(name).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_find_their_parameters() {
        use Slot::{Default, Given, Rest};
        let of = function(&[
            ("a", Mode::In, false),
            ("b", Mode::In, true),
            ("o", Mode::Out, false),
            ("c", Mode::In, true),
        ]);
        assert_eq!(fitted(&of, &[""]), Some(vec![Given(0), Default, Default]));
        assert_eq!(
            fitted(&of, &["", "c"]),
            Some(vec![Given(0), Default, Given(1)])
        );
        assert_eq!(
            fitted(&of, &["c", "a"]),
            Some(vec![Given(1), Default, Given(0)])
        );
        for wrong in [&[][..], &["b"], &["", "a"], &["", "o"], &["", "", "", ""]] {
            assert_eq!(fitted(&of, wrong), None, "{wrong:?}");
        }
        let of = function(&[("a", Mode::In, false), ("v", Mode::Variadic, false)]);
        assert_eq!(fitted(&of, &["", "", ""]), Some(vec![Given(0), Rest(1)]));
        assert_eq!(fitted(&of, &["", "v"]), Some(vec![Given(0), Given(1)]));
        assert_eq!(fitted(&of, &[""]), None);
    }
}
