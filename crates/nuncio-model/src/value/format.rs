use std::sync::Arc;

use super::{Invalid, checked_string};

/// A header value in Envoy's substitution format: `%REQ(x-a)%` stands for something of the
/// request, `%%` for a percent sign.
///
/// Checked because Envoy refuses a whole route table for one it cannot read. The operators are
/// those of `envoy.formatter` in Envoy 1.40.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FormatString(Arc<str>);

checked_string!(FormatString);

/// Operators that take something in parentheses.
const WITH_ARGUMENT: &[&str] = &[
    "CLUSTER_METADATA",
    "COALESCE",
    "COMMON_DURATION",
    "DYNAMIC_METADATA",
    "ENVIRONMENT",
    "FILTER_STATE",
    "PER_REQUEST_STATE",
    "QUERY_PARAM",
    "REQ",
    "REQUEST_HEADER",
    "RESP",
    "RESPONSE_HEADER",
    "RESPONSE_TRAILER",
    "TRAILER",
    "UPSTREAM_FILTER_STATE",
    "UPSTREAM_METADATA",
];

/// Operators that stand alone; some take a format in parentheses too.
const ALONE: &[&str] = &[
    "ACCESS_LOG_TYPE",
    "BYTES_RECEIVED",
    "BYTES_SENT",
    "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_DIRECT_REMOTE_PORT",
    "DOWNSTREAM_HANDSHAKE_DURATION",
    "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT",
    "DOWNSTREAM_LOCAL_ADDRESS",
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_LOCAL_DNS_SAN",
    "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN",
    "DOWNSTREAM_LOCAL_OTHERNAME_SAN",
    "DOWNSTREAM_LOCAL_PORT",
    "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN",
    "DOWNSTREAM_PEER_CERT",
    "DOWNSTREAM_PEER_CERT_V_END",
    "DOWNSTREAM_PEER_CERT_V_START",
    "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN",
    "DOWNSTREAM_PEER_FINGERPRINT_1",
    "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN",
    "DOWNSTREAM_PEER_ISSUER",
    "DOWNSTREAM_PEER_OTHERNAME_SAN",
    "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT",
    "DOWNSTREAM_PEER_URI_SAN",
    "DOWNSTREAM_REMOTE_ADDRESS",
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER",
    "DOWNSTREAM_TLS_SESSION_ID",
    "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "DOWNSTREAM_WIRE_BYTES_RECEIVED",
    "DOWNSTREAM_WIRE_BYTES_SENT",
    "DURATION",
    "EMIT_TIME",
    "FILTER_CHAIN_NAME",
    "GRPC_STATUS",
    "GRPC_STATUS_NUMBER",
    "HOSTNAME",
    "LOCAL_REPLY_BODY",
    "PATH",
    "PROTOCOL",
    "QUERY_PARAMS",
    "REQUESTED_SERVER_NAME",
    "REQUEST_DURATION",
    "REQUEST_HEADERS_BYTES",
    "REQUEST_TX_DURATION",
    "RESPONSE_CODE",
    "RESPONSE_CODE_DETAILS",
    "RESPONSE_DURATION",
    "RESPONSE_FLAGS",
    "RESPONSE_FLAGS_LONG",
    "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES",
    "RESPONSE_TX_DURATION",
    "ROUNDTRIP_DURATION",
    "ROUTE_NAME",
    "START_TIME",
    "START_TIME_LOCAL",
    "STREAM_ID",
    "TLS_JA3_FINGERPRINT",
    "TLS_JA4_FINGERPRINT",
    "TRACE_ID",
    "UNIQUE_ID",
    "UPSTREAM_CLUSTER",
    "UPSTREAM_CLUSTER_RAW",
    "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_HOST",
    "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_ADDRESS",
    "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_LOCAL_PORT",
    "UPSTREAM_PEER_SUBJECT",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REMOTE_ADDRESS",
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
    "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_TLS_CIPHER",
    "UPSTREAM_TLS_SESSION_ID",
    "UPSTREAM_TLS_VERSION",
    "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_WIRE_BYTES_RECEIVED",
    "UPSTREAM_WIRE_BYTES_SENT",
    "VIRTUAL_CLUSTER_NAME",
];

const HELP: &str = "write %% for a percent sign, or one of Envoy's operators, such as \
    %REQ(x-header)% or %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";

/// The operators by name, and whether they need an argument.
pub fn format_operators() -> impl Iterator<Item = (&'static str, bool)> {
    let with_argument = WITH_ARGUMENT.iter().map(|name| (*name, true));
    with_argument.chain(ALONE.iter().map(|name| (*name, false)))
}

impl FormatString {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        if let Some(c) = text.chars().find(|c| matches!(c, '\r' | '\n' | '\0')) {
            return Err(Invalid::new(
                format!("{c:?} cannot stand in a header value"),
                "write the value on one line",
            ));
        }
        check_operators(text)?;
        Ok(Self(text.into()))
    }
}

/// Text in the same format that is no header: a line of the access log, a body. It may have several
/// lines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogFormat(Arc<str>);

checked_string!(LogFormat);

impl LogFormat {
    pub fn new(text: &str) -> Result<Self, Invalid> {
        check_operators(text)?;
        Ok(Self(text.into()))
    }
}

fn check_operators(text: &str) -> Result<(), Invalid> {
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            rest = after;
            continue;
        }
        rest = operator(rest).map_err(|what| Invalid::new(what, HELP))?;
    }
    Ok(())
}

/// Reads `NAME%`, `NAME(argument)%` or `NAME(argument):length%`; returns what follows.
fn operator(text: &str) -> Result<&str, String> {
    let end = text
        .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
        .unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut argument = false;
    if let Some(after) = rest.strip_prefix('(') {
        let close = after
            .find(')')
            .ok_or_else(|| format!("the parenthesis after %{name} does not end"))?;
        if after[..close].is_empty() {
            return Err(format!("the parentheses after %{name} are empty"));
        }
        argument = true;
        rest = &after[close + 1..];
    }
    if let Some(after) = rest.strip_prefix(':') {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(format!("the length after %{name} is not a number"));
        }
        rest = &after[digits..];
    }
    let Some(rest) = rest.strip_prefix('%') else {
        return Err(format!(
            "the percent sign before \"{}\" begins no operator",
            name.chars().take(40).collect::<String>()
        ));
    };
    if WITH_ARGUMENT.contains(&name) {
        if argument {
            Ok(rest)
        } else {
            Err(format!("%{name}% needs parentheses that say of what"))
        }
    } else if ALONE.contains(&name) {
        Ok(rest)
    } else {
        Err(format!("%{name}% is not an operator that Envoy has"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_are_known_and_whole() {
        for good in [
            "",
            "plain",
            "100%%",
            "%REQ(x-a)%",
            "%REQ(x-a?:path):10%",
            "a %PROTOCOL% b%%",
            "%START_TIME(%s)%",
            "%DOWNSTREAM_PEER_CERT_V_START(%b)%",
            "%HOSTNAME%",
        ] {
            assert!(
                FormatString::new(good).is_ok(),
                "{good}: {:?}",
                FormatString::new(good)
            );
        }
        assert!(LogFormat::new("a\n%PROTOCOL%\n").is_ok());
        assert!(LogFormat::new("%NOPE%").is_err());
        for bad in [
            "100%",
            "%REQ%",
            "%REQ()%",
            "%REQ(a%",
            "%NOPE%",
            "%a%",
            "%REQ(a)",
            "%PROTOCOL:x%",
            "a\nb",
        ] {
            assert!(FormatString::new(bad).is_err(), "{bad}");
        }
    }
}
