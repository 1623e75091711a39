//! The files of limits: what is in effect of them, and what is wrong.
//!
//! Pure. What a file said when it was good last stays in effect until it is good again.

use std::collections::BTreeMap;

use crate::file::{self, File, FileError, Position};
use crate::limiter::InEffect;
use crate::metrics::Metrics;
use crate::rules::Rules;

/// By name: the text, or why it cannot be read.
pub(crate) type Texts = BTreeMap<String, Result<String, String>>;

/// The files, as they were looked at last.
#[derive(Debug, Default)]
pub(crate) struct Files {
    texts: Texts,
    good: BTreeMap<String, File>,
}

/// What became of a look at the files.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) in_effect: InEffect,
    /// Each as `NAME:LINE:COLUMN: what`.
    pub(crate) problems: Vec<String>,
}

impl Files {
    /// Takes what is there now; nothing if it is the same as before.
    pub(crate) fn update(
        &mut self,
        texts: Texts,
        merge_domains: bool,
        metrics: &Metrics,
    ) -> Option<Loaded> {
        if texts == self.texts && !texts.is_empty() {
            return None;
        }
        let mut wrong: BTreeMap<&str, FileError> = BTreeMap::new();
        let mut wanted: Vec<(&str, File)> = Vec::new();
        for (name, text) in &texts {
            let unchanged = self.texts.get(name) == Some(text);
            match text
                .as_ref()
                .map_err(|error| unreadable(error))
                .and_then(|text| file::parse(text))
            {
                Ok(file) if unchanged && self.good.get(name) == Some(&file) => {}
                Ok(file) => wanted.push((name, file)),
                Err(error) => {
                    wrong.insert(name, error);
                }
            }
        }
        // What stays as it is has its place before what changes.
        let stay: Vec<_> = self
            .good
            .extract_if(.., |name, _| {
                texts.contains_key(name) && wanted.iter().all(|(wanted, _)| wanted != name)
            })
            .collect();
        let before = std::mem::take(&mut self.good);
        let mut rules = Rules::default();
        for (name, file) in stay {
            if rules.add(&file, merge_domains, metrics).is_ok() {
                self.good.insert(name, file);
            }
        }
        for (name, file) in wanted {
            match rules.add(&file, merge_domains, metrics) {
                Ok(()) => {
                    self.good.insert(name.to_owned(), file);
                }
                Err(error) => {
                    wrong.insert(name, error);
                    if let Some(old) = before.get(name)
                        && rules.add(old, merge_domains, metrics).is_ok()
                    {
                        self.good.insert(name.to_owned(), old.clone());
                    }
                }
            }
        }
        // In the order of their names, whatever came first: that of wildcards must not depend on it.
        let mut rules = Rules::default();
        for file in self.good.values() {
            rules
                .add(file, merge_domains, metrics)
                .expect("invariant: the same files were added in another order");
        }
        let problems: Vec<_> = wrong
            .iter()
            .map(|(name, error)| {
                let meaning = match self.good.contains_key(*name) {
                    true => "what it said before stays in effect",
                    false => "nothing of it is in effect",
                };
                format!("{name}:{error}; {meaning}")
            })
            .collect();
        let never_good = wrong.keys().find(|name| !self.good.contains_key(**name));
        let incomplete = match never_good {
            Some(name) => Some(format!("the limits in {name} are wrong")),
            None if texts.is_empty() => Some("there is no file of limits".to_owned()),
            None => None,
        };
        self.texts = texts;
        Some(Loaded {
            in_effect: InEffect { rules, incomplete },
            problems,
        })
    }
}

fn unreadable(error: &str) -> FileError {
    FileError::new(
        Position { line: 1, column: 1 },
        format!("it cannot be read: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(files: &[(&str, &str)]) -> Texts {
        let files = files.iter();
        files
            .map(|(name, text)| ((*name).to_owned(), Ok((*text).to_owned())))
            .collect()
    }

    fn update(files: &mut Files, content: &[(&str, &str)]) -> Loaded {
        let loaded = files.update(texts(content), false, &Metrics::default());
        loaded.expect("something changed")
    }

    fn known(loaded: &Loaded) -> Vec<&'static str> {
        let domains = ["a", "b", "c"].into_iter();
        domains
            .filter(|domain| loaded.in_effect.rules.knows(domain))
            .collect()
    }

    #[test]
    fn a_wrong_file_costs_only_what_it_says_anew() {
        let mut files = Files::default();
        let loaded = update(
            &mut files,
            &[("1.yaml", "domain: a"), ("2.yaml", "domain: b")],
        );
        assert_eq!(known(&loaded), ["a", "b"]);
        assert!(loaded.problems.is_empty() && loaded.in_effect.incomplete.is_none());

        let loaded = update(
            &mut files,
            &[("1.yaml", "domain: ["), ("2.yaml", "domain: c")],
        );
        assert_eq!(known(&loaded), ["a", "c"]);
        let [problem] = loaded.problems.as_slice() else {
            panic!("{:?}", loaded.problems);
        };
        assert!(problem.starts_with("1.yaml:1:"), "{problem}");
        assert!(
            problem.ends_with("what it said before stays in effect"),
            "{problem}"
        );
        assert_eq!(loaded.in_effect.incomplete, None);

        let again = texts(&[("1.yaml", "domain: ["), ("2.yaml", "domain: c")]);
        assert!(files.update(again, false, &Metrics::default()).is_none());

        let loaded = update(&mut files, &[("2.yaml", "domain: c")]);
        assert_eq!(known(&loaded), ["c"]);
    }

    #[test]
    fn what_was_never_good_leaves_unknown_domains_undecided() {
        let mut files = Files::default();
        let loaded = update(&mut files, &[("1.yaml", "domain: a"), ("2.yaml", "")]);
        assert_eq!(known(&loaded), ["a"]);
        let incomplete = loaded.in_effect.incomplete.unwrap();
        assert_eq!(incomplete, "the limits in 2.yaml are wrong");
        let loaded = files
            .update(Texts::new(), false, &Metrics::default())
            .unwrap();
        assert!(loaded.in_effect.incomplete.is_some());
        assert!(known(&loaded).is_empty());
    }

    #[test]
    fn a_domain_stays_with_the_file_that_has_it() {
        let mut files = Files::default();
        update(
            &mut files,
            &[("1.yaml", "domain: a"), ("2.yaml", "domain: b")],
        );
        let loaded = update(
            &mut files,
            &[("1.yaml", "domain: b"), ("2.yaml", "domain: b")],
        );
        assert_eq!(known(&loaded), ["a", "b"]);
        assert!(loaded.problems[0].starts_with("1.yaml:1:9: the domain \"b\" is in another file"));
        // Both change: they may also exchange theirs.
        let loaded = update(
            &mut files,
            &[("1.yaml", "domain: b"), ("2.yaml", "domain: a")],
        );
        assert_eq!(known(&loaded), ["a", "b"]);
        assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    }
}
