//! The Module `tls`: TLSContexts as they were written before there was that kind.

use std::sync::{Arc, LazyLock};

use nuncio_api::ObjectMeta;
use nuncio_api::getambassador::{TlsContext, TlsModuleCertificate, TlsModuleClient};
use nuncio_api::path::join;
use nuncio_model::{Reason, Report};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Object;
use super::read::deserialize;
use super::schema::Schema;

/// The Module's name.
pub const NAME: &str = "tls";

/// The Secrets of parts that name none.
const CERTIFICATE: &str = "ambassador-certs";
const AUTHORITY: &str = "ambassador-cacert";

/// The part that terminates, and the part that says whose certificates it wants.
const SERVER: &str = "server";
const CLIENT: &str = "client";

/// The TLSContexts that a Module `tls` is. What is wrong with a part costs that part.
pub(super) fn contexts(
    module: &Object<Value>,
    report: &mut Report,
) -> Vec<Arc<Object<TlsContext>>> {
    let Some(Value::Object(config)) = module.spec.get("config") else {
        report
            .error(
                &module.at("spec.config"),
                Reason::MissingField,
                "a Module has an object config",
            )
            .help("write config: and the parts below it, such as server");
        return Vec::new();
    };
    let mut reader = Reader { module, report };
    let mut contexts = Vec::new();
    for name in config.keys().filter(|name| *name != CLIENT) {
        let field = join("spec.config", name);
        let Some(part) = reader.part::<TlsModuleCertificate>(&CERTIFICATE_SCHEMA, config, name)
        else {
            continue;
        };
        if part.enabled == Some(false) {
            continue;
        }
        let mut spec = origination(part);
        if name == SERVER && !reader.terminate(config, &mut spec) {
            continue;
        }
        let meta = Arc::new(ObjectMeta {
            name: name.to_owned(),
            ..ObjectMeta::clone(&module.meta)
        });
        contexts.push(Arc::new(Object {
            id: Arc::clone(&module.id),
            meta,
            source: module.source.clone(),
            rkey: Arc::clone(&module.rkey),
            part: Some(field.into()),
            spec,
        }));
    }
    contexts
}

fn origination(part: TlsModuleCertificate) -> TlsContext {
    let files = part.cert_chain_file.is_some() || part.private_key_file.is_some();
    TlsContext {
        secret: match part.secret {
            None if !files => Some(CERTIFICATE.to_owned()),
            secret => secret,
        },
        cert_chain_file: part.cert_chain_file,
        private_key_file: part.private_key_file,
        alpn_protocols: part.alpn_protocols,
        redirect_cleartext_from: part.redirect_cleartext_from,
        ..TlsContext::default()
    }
}

struct Reader<'a> {
    module: &'a Object<Value>,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// Makes a context one that Hosts can terminate with; `false` if what it asks of clients is
    /// wrong: without that every client would be let in.
    ///
    /// Emissary takes a `client` that names no authority for one that changes the certificate.
    fn terminate(&mut self, config: &Map<String, Value>, spec: &mut TlsContext) -> bool {
        spec.hosts = Some(vec!["*".to_owned()]);
        if !config.contains_key(CLIENT) {
            return true;
        }
        let Some(client) = self.part::<TlsModuleClient>(&CLIENT_SCHEMA, config, CLIENT) else {
            return false;
        };
        if client.enabled != Some(false) {
            spec.ca_secret = match client.secret {
                None if client.cacert_chain_file.is_none() => Some(AUTHORITY.to_owned()),
                secret => secret,
            };
            spec.cacert_chain_file = client.cacert_chain_file;
            spec.cert_required = client.cert_required;
        }
        true
    }

    fn part<T: DeserializeOwned>(
        &mut self,
        schema: &Schema,
        config: &Map<String, Value>,
        name: &str,
    ) -> Option<T> {
        let value = config.get(name)?;
        let field = join("spec.config", name);
        for unknown in schema.unknown_fields_at(&field, value) {
            let entry = self.report.warning(
                &self.module.at(unknown.path),
                Reason::UnknownField,
                "the Module tls has no such field: it has no effect",
            );
            entry.help(match unknown.nearest {
                Some(near) => format!("did you mean {near}?"),
                None => "write a TLSContext".to_owned(),
            });
        }
        match deserialize(value.clone(), &field, Some(schema)) {
            Ok(part) => Some(part),
            Err(mistake) => {
                let help = format!("{name} is left out until this is mended");
                mistake.report(self.report, &self.module.origin(), &help);
                None
            }
        }
    }
}

static CERTIFICATE_SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<TlsModuleCertificate>);
static CLIENT_SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<TlsModuleClient>);
