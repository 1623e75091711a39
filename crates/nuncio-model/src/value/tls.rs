use std::sync::Arc;

use super::{Invalid, checked_string};

/// Cipher suites of TLS 1.2 and below that BoringSSL has, by OpenSSL's names.
const CIPHER_SUITES: &[&str] = &[
    "AES128-GCM-SHA256",
    "AES128-SHA",
    "AES256-GCM-SHA384",
    "AES256-SHA",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
];

/// Groups for key agreement that BoringSSL has.
const CURVES: &[&str] = &["P-256", "P-384", "P-521", "X25519", "X25519MLKEM768"];

/// A cipher suite, or several of equal preference: `[A|B]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CipherSuites(Arc<str>);

checked_string!(CipherSuites);

impl CipherSuites {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let group = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        match group
            .unwrap_or(text)
            .split('|')
            .find(|name| !CIPHER_SUITES.contains(name))
        {
            None if group.is_some() || !text.contains('|') => Ok(Self(text.into())),
            unknown => Err(Invalid::new(
                format!(
                    "\"{}\" is not a cipher suite that Envoy has",
                    unknown.unwrap_or(text)
                ),
                format!("write some of {}", CIPHER_SUITES.join(", ")),
            )),
        }
    }

    /// All that Envoy has.
    pub fn known() -> &'static [&'static str] {
        CIPHER_SUITES
    }
}

/// A group for key agreement.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Curve(Arc<str>);

checked_string!(Curve);

impl Curve {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if CURVES.contains(&text) {
            return Ok(Self(text.into()));
        }
        Err(Invalid::new(
            format!("\"{text}\" is not a curve that Envoy has"),
            format!("write some of {}", CURVES.join(", ")),
        ))
    }

    /// All that Envoy has.
    pub fn known() -> &'static [&'static str] {
        CURVES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_groups_of_them() {
        for good in ["AES128-SHA", "[AES128-SHA|AES256-SHA]"] {
            assert!(CipherSuites::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "NOPE",
            "[AES128-SHA",
            "AES128-SHA|AES256-SHA",
            "[AES128-SHA|]",
            "!aNULL",
        ] {
            assert!(CipherSuites::new(bad).is_err(), "{bad}");
        }
    }
}
