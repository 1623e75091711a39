//! Values that are parsed once. Each constructor is the only check of its type, and says what is
//! wrong in words that a report entry can use.

mod domain;
mod format;
mod fraction;
mod header;
mod lua;
mod regex;
mod runtime;
mod status;
mod text;
mod tls;

pub use domain::{Domain, ServerName};
pub use format::{FormatString, LogFormat, format_operators};
pub use fraction::Fraction;
pub use header::{CookieName, HeaderName, MatchHeaderName};
pub use lua::LuaScript;
pub use regex::Regex;
pub use runtime::RuntimeKey;
pub use status::HttpStatus;
pub use text::{HostLiteral, PathLiteral, PathSegments};
pub use tls::{CipherSuites, Curve};

/// Why a value was refused: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    pub message: String,
    pub help: String,
}

impl Invalid {
    pub fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
        }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; {}", self.message, self.help)
    }
}

impl std::error::Error for Invalid {}

/// Implements what every checked string has: reading, printing, serialising.
macro_rules! checked_string {
    ($name:ident) => {
        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }
    };
}
pub(crate) use checked_string;
