//! A map for what mostly has one entry.

use std::collections::BTreeMap;

/// A map that takes no memory of its own while it has one entry.
#[derive(Clone, Debug, Default)]
pub(crate) enum Few<K, V = ()> {
    #[default]
    None,
    One(K, V),
    Many(BTreeMap<K, V>),
}

impl<K: Ord, V> Few<K, V> {
    pub(crate) fn insert(&mut self, key: K, value: V) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(key, value),
            Self::One(one, _) if one == key => Self::One(key, value),
            Self::One(one, its) => Self::Many(BTreeMap::from([(one, its), (key, value)])),
            Self::Many(mut many) => {
                many.insert(key, value);
                Self::Many(many)
            }
        };
    }

    pub(crate) fn remove(&mut self, key: &K) {
        match self {
            Self::One(one, _) if one == key => *self = Self::None,
            Self::None | Self::One(..) => {}
            Self::Many(many) => {
                many.remove(key);
                if many.len() <= 1 {
                    let left = many.pop_first();
                    *self = left.map_or(Self::None, |(key, value)| Self::One(key, value));
                }
            }
        }
    }

    pub(crate) fn contains(&self, key: &K) -> bool {
        match self {
            Self::None => false,
            Self::One(one, _) => one == key,
            Self::Many(many) => many.contains_key(key),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// In the order of the keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(key, value) => (Some((key, value)), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    /// In the order of the keys.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(key, value) => (Some((&*key, value)), None),
            Self::Many(many) => (None, Some(many)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_has_what_a_map_has(steps in prop::collection::vec((0..4u8, any::<bool>()), 0..30)) {
            let (mut few, mut map) = (Few::default(), BTreeMap::new());
            for (value, (key, present)) in steps.into_iter().enumerate() {
                if present {
                    few.insert(key, value);
                    map.insert(key, value);
                } else {
                    few.remove(&key);
                    map.remove(&key);
                }
                prop_assert!(few.iter().eq(map.iter()));
                prop_assert!(few.iter_mut().map(|(_, value)| *value).eq(map.values().copied()));
                prop_assert_eq!(few.first(), map.first_key_value());
                prop_assert_eq!(few.is_empty(), map.is_empty());
                prop_assert_eq!(few.contains(&key), map.contains_key(&key));
            }
        }
    }
}
