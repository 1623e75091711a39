//! Certificates for tests.

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    pub cert_pem: String,
    pub cert_der: Vec<u8>,
    pub key_pem: String,
}

/// Makes a certificate for these names that only itself vouches for.
pub fn self_signed(names: &[&str]) -> Pair {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names)
        .expect("invariant: the names are those of a certificate");
    Pair {
        cert_pem: made.cert.pem(),
        cert_der: made.cert.der().to_vec(),
        key_pem: made.signing_key.serialize_pem(),
    }
}
