//! The labels of nuncio's own pod, as the downward API writes them into a file.

use std::collections::BTreeMap;

pub type PodLabels = BTreeMap<String, String>;

/// Reads lines of `key="value"`, the value quoted as Go does.
///
/// # Errors
///
/// The first line that is none, in words.
pub fn parse(text: &str) -> Result<PodLabels, String> {
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| {
            label(line.trim()).ok_or_else(|| {
                format!(
                    "line {} is not a label: {line}; the downward API writes key=\"value\"",
                    number + 1
                )
            })
        })
        .collect()
}

fn label(line: &str) -> Option<(String, String)> {
    let (key, value) = line.split_once('=')?;
    let value = value.strip_prefix('"')?.strip_suffix('"')?;
    (!key.is_empty()).then_some(())?;
    Some((key.to_owned(), unquote(value)?))
}

/// The text of a Go string (`strconv.Quote`), without its quotes.
fn unquote(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        let c = match c {
            '"' => return None,
            '\\' => match rest.next()? {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                c @ ('\\' | '"') => c,
                // One byte of a text that is not UTF-8.
                'x' => {
                    bytes.push(u8::try_from(hexadecimal(&mut rest, 2)?).ok()?);
                    continue;
                }
                'u' => char::from_u32(hexadecimal(&mut rest, 4)?)?,
                'U' => char::from_u32(hexadecimal(&mut rest, 8)?)?,
                _ => return None,
            },
            c => c,
        };
        bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
    }
    String::from_utf8(bytes).ok()
}

fn hexadecimal(rest: &mut std::str::Chars<'_>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0, |number, _| {
        Some(number * 16 + rest.next()?.to_digit(16)?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_labels() {
        let text = "app.kubernetes.io/name=\"emissary\"\n\nempty=\"\"\nodd=\"a=\\\"b\\\\\\t\\x41\\u00e9\\U0001f600\"\n";
        let labels = parse(text).unwrap();
        let labels: Vec<(&str, &str)> = labels
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(
            labels,
            [
                ("app.kubernetes.io/name", "emissary"),
                ("empty", ""),
                ("odd", "a=\"b\\\tAé😀"),
            ]
        );
    }

    #[test]
    fn what_is_no_label_says_where_it_is() {
        for bad in [
            "a",
            "a=b",
            "a=\"b",
            "=\"b\"",
            "a=\"\\q\"",
            "a=\"\\",
            "a=\"\\\"",
            "a=\"b\"c\"",
            "a=\"\\u12\"",
            "a=\"\\xff\"",
            "a=\"\\ud800\"",
        ] {
            let error = parse(&format!("ok=\"1\"\n{bad}\n")).unwrap_err();
            assert!(error.starts_with("line 2 is not a label"), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(a=\"[a\\\\\"xuU0-9n]{0,10}\"|\\PC{0,10}\n?){0,3}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_was_quoted_is_read(value in "\\PC{0,12}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let labels = parse(&format!("k=\"{quoted}\"")).unwrap();
            prop_assert_eq!(&labels["k"], &value);
        }
    }
}
