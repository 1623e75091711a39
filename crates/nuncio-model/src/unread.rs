//! What must not go unseen: without it requests pass that it would stop.

use std::collections::BTreeSet;

use crate::Origin;

/// Kinds of getambassador.io: who decides about requests, which names are served how, who is let in,
/// what is asked of clients. Others may be missed and nothing is open for it: a RateLimitService that
/// does not answer limits nothing either. With each, words of which a text has one that is about such:
/// the keys of a Module that stop requests, and the end of the name by which a TLSContext is a Host's.
const GUARDS: &[(&str, &[&str])] = &[
    ("AuthService", &[]),
    ("Host", &[]),
    (
        "Module",
        &["auth_service", "ip_allow", "ip_deny", "lua_scripts"],
    ),
    ("TLSContext", &["-context"]),
];

/// Where resources of a kind may be of which nothing was ever read.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Unread {
    pub kind: &'static str,
    /// What cannot be read.
    pub origin: Origin,
}

/// The kind among those that must not go unseen that has this name.
pub fn guard(kind: &str) -> Option<&'static str> {
    let mut guards = GUARDS.iter().map(|(guard, _)| *guard);
    guards.find(|guard| *guard == kind)
}

/// Those that a text is about, `kind: Host` or `"kind": "Host"`, which nobody could parse.
pub fn guards_in(text: &str) -> BTreeSet<&'static str> {
    let after = text.split("kind").skip(1);
    let names = after.map(|after| {
        let name = after.trim_start_matches(|c: char| c.is_whitespace() || "\"':".contains(c));
        let end = name.find(|c: char| !c.is_alphanumeric());
        &name[..end.unwrap_or(name.len())]
    });
    let is_about = |kind: &&str| {
        let mut guards = GUARDS.iter();
        let words = guards.find(|(guard, _)| guard == kind);
        words.is_some_and(|(_, words)| {
            words.is_empty() || words.iter().any(|word| text.contains(word))
        })
    };
    names.filter_map(guard).filter(is_about).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_names_what_must_not_go_unseen() {
        let found = |text| guards_in(text).into_iter().collect::<Vec<_>>();
        assert_eq!(
            found("kind: Host\n---\n{\"kind\": \"AuthService\"}"),
            ["AuthService", "Host"]
        );
        assert!(found("kind: Hosts\nname: AuthService").is_empty());
        assert!(found("kind: TLSContext\nmetadata: {name: upstream").is_empty());
        assert_eq!(
            found("kind: 'TLSContext'\nmetadata: {name: a-context"),
            ["TLSContext"]
        );
        assert!(found("kind: Module\nspec: {config: {diagnostics: [").is_empty());
        assert_eq!(
            found("kind: Module\nspec: {config: {ip_allow: ["),
            ["Module"]
        );
    }
}
