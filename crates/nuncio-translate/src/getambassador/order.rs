//! The order of routes: Emissary's sort key, compared element by element, then by length.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use super::group::Group;
use super::kept::MappingKey;
use super::mapping::{Criteria, Criterion};

/// `[precedence, len(prefix), Σ header lengths, Σ query lengths, prefix, "GET", headers…, query…]`.
/// Lengths count characters. The method takes part as a header; the sixth element is constant.
#[derive(Clone, Debug)]
struct SortKey {
    precedence: i64,
    prefix_length: usize,
    header_length: usize,
    query_length: usize,
    criteria: Arc<Criteria>,
}

impl SortKey {
    fn new(criteria: &Arc<Criteria>) -> Self {
        Self {
            precedence: criteria.precedence,
            prefix_length: criteria.prefix.chars().count(),
            header_length: criteria.headers.iter().map(length).sum(),
            query_length: criteria.query_parameters.iter().map(length).sum(),
            criteria: Arc::clone(criteria),
        }
    }

    /// What is compared before the criteria are.
    fn numbers(&self) -> (i64, usize, usize, usize) {
        (
            self.precedence,
            self.prefix_length,
            self.header_length,
            self.query_length,
        )
    }
}

impl Ord for SortKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = self.numbers().cmp(&other.numbers());
        numbers
            .then_with(|| self.criteria.prefix.cmp(&other.criteria.prefix))
            .then_with(|| cmp_texts(&self.criteria, &other.criteria))
    }
}

impl PartialOrd for SortKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SortKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for SortKey {}

/// Compares what headers and query parameters are as texts, `name-value`, without writing them out.
fn cmp_texts(one: &Criteria, other: &Criteria) -> Ordering {
    let mut pairs = one.all().zip(other.all());
    let different =
        pairs.find_map(|(one, other)| Some(text(one).cmp(text(other))).filter(|o| o.is_ne()));
    different.unwrap_or_else(|| one.all().count().cmp(&other.all().count()))
}

fn text(criterion: &Criterion) -> impl Iterator<Item = u8> {
    let (name, value) = (criterion.name.bytes(), criterion.value.bytes());
    name.chain(std::iter::once(b'-')).chain(value)
}

fn length(criterion: &Criterion) -> usize {
    criterion.name.chars().count() + criterion.value.chars().count() + usize::from(criterion.regex)
}

/// What a group was made for: of equal keys the later counts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Created {
    /// The first of its Mappings.
    Mapping(Arc<MappingKey>),
    BuiltIn(usize),
}

/// Where a group stands in the order in which routes are tried.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    key: Reverse<SortKey>,
    created: Reverse<Created>,
}

impl Place {
    pub(super) fn new(criteria: &Arc<Criteria>, created: Created) -> Self {
        Self {
            key: Reverse(SortKey::new(criteria)),
            created: Reverse(created),
        }
    }
}

/// Puts a few groups between those that are in order already.
pub(super) fn merge<'g>(
    groups: impl Iterator<Item = (&'g Arc<Place>, &'g Arc<Group>)>,
    mut few: Vec<(Place, Group)>,
) -> Vec<Arc<Group>> {
    few.sort_by(|(one, _), (other, _)| other.cmp(one));
    let mut merged = Vec::with_capacity(groups.size_hint().0 + few.len());
    for (place, group) in groups {
        while let Some((_, before)) = few.pop_if(|(few, _)| *few < **place) {
            merged.push(Arc::new(before));
        }
        merged.push(Arc::clone(group));
    }
    merged.extend(few.into_iter().rev().map(|(_, group)| Arc::new(group)));
    merged
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn criterion(name: &str, value: &str) -> Criterion {
        Criterion {
            name: name.to_owned(),
            value: value.to_owned(),
            regex: false,
        }
    }

    fn key(headers: &[(&str, &str)], query: &[(&str, &str)]) -> SortKey {
        SortKey::new(&Arc::new(Criteria {
            precedence: 0,
            prefix: "/ab/".to_owned(),
            headers: headers.iter().map(|(n, v)| criterion(n, v)).collect(),
            query_parameters: query.iter().map(|(n, v)| criterion(n, v)).collect(),
        }))
    }

    /// The examples of Emissary's own generator.
    #[test]
    fn examples() {
        let any = (":authority", "*");
        let put = key(&[any, (":method", "PUT")], &[]);
        assert_eq!((put.prefix_length, put.header_length), (4, 21));
        let header = key(&[("x", "1"), any], &[]);
        assert_eq!(header.header_length, 13);
        let query = key(&[any], &[("x", "1")]);
        assert_eq!((query.header_length, query.query_length), (11, 2));
        let plain = key(&[any], &[]);
        let none = key(&[], &[]);
        assert!(put > header && header > query && query > plain && plain > none);
    }

    fn any_criteria() -> impl Strategy<Value = Criteria> {
        let criterion = ("[a-c]{1,3}", "[a-c*é]{1,3}", any::<bool>())
            .prop_map(|(name, value, regex)| Criterion { name, value, regex });
        (
            -2i64..3,
            "/[a-cé/]{0,4}",
            prop::collection::vec(criterion.clone(), 0..3),
            prop::collection::vec(criterion, 0..3),
        )
            .prop_map(|(precedence, prefix, headers, query_parameters)| Criteria {
                precedence,
                prefix,
                headers,
                query_parameters,
            })
    }

    /// The specification's list, written down once more without any of the code above.
    fn specified(c: &Criteria) -> (i64, usize, usize, usize, String, Vec<String>) {
        let sum = |list: &[Criterion]| {
            list.iter().fold(0, |sum, c| {
                sum + c.name.chars().count() + c.value.chars().count() + if c.regex { 1 } else { 0 }
            })
        };
        let mut rest = vec!["GET".to_owned()];
        rest.extend(c.headers.iter().map(|c| format!("{}-{}", c.name, c.value)));
        rest.extend(
            c.query_parameters
                .iter()
                .map(|c| format!("{}-{}", c.name, c.value)),
        );
        (
            c.precedence,
            c.prefix.chars().count(),
            sum(&c.headers),
            sum(&c.query_parameters),
            c.prefix.clone(),
            rest,
        )
    }

    proptest! {
        #[test]
        fn the_order_is_total_and_the_specification_s(
            a in any_criteria(), b in any_criteria(), c in any_criteria()
        ) {
            let keys = [&a, &b, &c].map(|criteria| SortKey::new(&Arc::new(criteria.clone())));
            prop_assert_eq!(keys[0].cmp(&keys[1]), specified(&a).cmp(&specified(&b)));
            prop_assert_eq!(keys[0].cmp(&keys[1]), keys[1].cmp(&keys[0]).reverse());
            if keys[0] <= keys[1] && keys[1] <= keys[2] {
                prop_assert!(keys[0] <= keys[2]);
            }
        }
    }
}
