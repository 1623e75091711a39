//! Envoy's normalisation of paths: that of browsers (Chromium's `CanonicalizePath`), without the
//! query string.

use nuncio_model::listener::HttpOptions;

/// `None` where Envoy answers 400.
pub(crate) fn normalised(path: &str, options: &HttpOptions) -> Option<String> {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    if options.reject_escaped_slashes {
        let lower = path.to_ascii_lowercase();
        if lower.contains("%2f") || lower.contains("%5c") {
            return None;
        }
    }
    let mut path = canonical(path)?;
    if options.merge_slashes && path.contains("//") {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        // A path of slashes alone keeps two of them.
        let end = if path.ends_with('/') { "/" } else { "" };
        path = format!("/{}{end}", parts.join("/"));
    }
    Some(path + query)
}

fn canonical(path: &str) -> Option<String> {
    let bytes = path.as_bytes();
    let mut out = String::new();
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        let dot = dot_length(&bytes[at..]);
        if dot > 0 {
            at += dot;
            let after = &bytes[at..];
            let second = dot_length(after);
            if !out.ends_with('/') {
                out.push('.');
            } else if is_end(after) {
                at += after.len().min(1);
            } else if second > 0 && is_end(&after[second..]) {
                at += second + (after.len() - second).min(1);
                up(&mut out);
            } else {
                out.push('.');
            }
            continue;
        }
        match byte {
            b'\\' => out.push('/'),
            b'%' => match escaped(&bytes[at..]) {
                Some(0) => return None,
                Some(value) if is_unreserved(value) => {
                    out.push(char::from(value));
                    at += 2;
                }
                Some(_) => {
                    out.push_str(&path[at..at + 3]);
                    at += 2;
                }
                None => out.push('%'),
            },
            byte if is_kept(byte) => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        at += 1;
    }
    Some(out)
}

/// How many bytes a dot takes here, escaped or not.
fn dot_length(bytes: &[u8]) -> usize {
    match bytes {
        [b'.', ..] => 1,
        [b'%', b'2', b'e' | b'E', ..] => 3,
        _ => 0,
    }
}

fn is_end(bytes: &[u8]) -> bool {
    matches!(bytes, [] | [b'/' | b'\\', ..])
}

/// Back to the slash before the last segment.
fn up(out: &mut String) {
    if out.len() > 1 {
        out.pop();
        let slash = out.rfind('/').unwrap_or(0);
        out.truncate(slash + 1);
    }
}

fn escaped(bytes: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    u8::try_from(digit(1)? * 16 + digit(2)?).ok()
}

/// Escaped, it is unescaped.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Everything else is escaped.
fn is_kept(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,/:;=@[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::canonical;

    #[test]
    fn as_browsers_do() {
        for (path, expected) in [
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../a", "/a"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/a/%2e%2E/b", "/b"),
            ("/a..b/.c", "/a..b/.c"),
            ("/%41%2f%7e", "/A%2f~"),
            ("/a|b^", "/a%7Cb%5E"),
            ("/a\\b", "/a/b"),
            ("/%zz", "/%zz"),
            ("//a", "//a"),
        ] {
            assert_eq!(canonical(path).as_deref(), Some(expected), "{path}");
        }
        assert_eq!(canonical("/%00"), None);
    }
}
