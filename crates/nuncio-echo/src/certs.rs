//! Certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};

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

/// Makes such a certificate that is not to be shown without a proof that it is not revoked
/// (RFC 7633).
pub fn must_staple(names: &[&str]) -> Pair {
    const TLS_FEATURE: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 24];
    const STATUS_REQUEST: [u8; 5] = [0x30, 3, 2, 1, 5];
    let key = KeyPair::generate().expect("invariant: ring makes keys");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params =
        CertificateParams::new(names).expect("invariant: the names are those of a certificate");
    params
        .custom_extensions
        .push(CustomExtension::from_oid_content(
            &TLS_FEATURE,
            STATUS_REQUEST.to_vec(),
        ));
    let certificate = params
        .self_signed(&key)
        .expect("invariant: the parameters are those of a certificate");
    Pair {
        cert_pem: certificate.pem(),
        cert_der: certificate.der().to_vec(),
        key_pem: key.serialize_pem(),
    }
}

/// Somebody who vouches for certificates, and takes that back.
pub struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("invariant: ring makes keys");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params
            .self_signed(&key)
            .expect("invariant: the parameters are those of an authority");
        Self {
            pair: Pair {
                cert_pem: certificate.pem(),
                cert_der: certificate.der().to_vec(),
                key_pem: key.serialize_pem(),
            },
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// Makes a certificate with a serial number, for names and URIs.
    pub fn issue(&self, serial: u64, names: &[&str]) -> Pair {
        const NAMES: &str = "invariant: the names are those of a certificate";
        let (uris, names): (Vec<String>, Vec<String>) = names
            .iter()
            .map(|name| (*name).to_owned())
            .partition(|name| name.contains("://"));
        let key = KeyPair::generate().expect("invariant: ring makes keys");
        let mut params = CertificateParams::new(names).expect(NAMES);
        for uri in uris {
            let uri = SanType::URI(uri.try_into().expect(NAMES));
            params.subject_alt_names.push(uri);
        }
        params.serial_number = Some(SerialNumber::from(serial));
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("invariant: the parameters are those of a certificate");
        Pair {
            cert_pem: certificate.pem(),
            cert_der: certificate.der().to_vec(),
            key_pem: key.serialize_pem(),
        }
    }

    /// The list of those that it takes back, in PEM.
    pub fn revoke(&self, serials: &[u64]) -> String {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(4096, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        }
        .signed_by(&self.issuer)
        .and_then(|list| list.pem())
        .expect("invariant: the authority may sign lists")
    }
}
