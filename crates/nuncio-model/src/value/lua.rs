use std::sync::Arc;

use super::{Invalid, checked_string};

/// A script for Envoy's Lua filter, which runs LuaJIT: Lua 5.1 with `goto`.
///
/// Only its syntax is checked; whether it defines `envoy_on_request` is its own business.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LuaScript(Arc<str>);

checked_string!(LuaScript);

impl LuaScript {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        let version = full_moon::LuaVersion::luajit() | full_moon::LuaVersion::lua52();
        let parsed = full_moon::parse_fallible(text, version);
        if let Some(error) = parsed.errors().first() {
            let (start, _) = error.range();
            return Err(Invalid::new(
                format!(
                    "it is not a Lua script: line {}, column {}: {}",
                    start.line(),
                    start.character(),
                    error.error_message()
                ),
                "Envoy runs LuaJIT, the language is Lua 5.1",
            ));
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_read_before_envoy_reads_it() {
        for good in [
            "",
            "function envoy_on_request(handle)\n  handle:headers():add(\"x\", \"y\")\nend\n",
            "for i = 1, 2 do\n  if i == 1 then goto continue end\n  ::continue::\nend\n",
        ] {
            assert!(LuaScript::new(good).is_ok(), "{good}");
        }
        let error = LuaScript::new("function f(\n  x =\nend").unwrap_err();
        assert!(
            error.message.starts_with("it is not a Lua script: line "),
            "{error}"
        );
        assert!(LuaScript::new("end").is_err());
    }
}
