//! The Module `authentication`: an AuthService as it was written before there was that kind.

use std::sync::Arc;

use nuncio_api::getambassador::AuthService;
use nuncio_api::getambassador::conversion::{Version, to_v3alpha1};
use nuncio_model::{Reason, Report};
use serde_json::Value;

use super::read::{deserialize, report_unknown};
use super::{Object, schema};

/// The Module's name.
pub(crate) const NAME: &str = "authentication";

/// Where its fields stand.
const PATH: &str = "spec.config";

/// The AuthService that a Module is; `None` for one that cannot be read, which is said. Its `tls` is
/// that of the version v2.
pub(crate) fn auth_service(
    module: &Object<Value>,
    report: &mut Report,
) -> Option<Object<AuthService>> {
    const KIND: &str = "AuthService";
    let Some(config @ Value::Object(_)) = module.spec.get("config") else {
        report
            .error(
                &module.at(PATH),
                Reason::MissingField,
                "a Module has an object config",
            )
            .help("write config: and the settings below it, such as auth_service");
        return None;
    };
    if let Some(schema) = schema::of(KIND, Version::V2) {
        let unknown = schema.unknown_fields_at(PATH, config);
        report_unknown(
            report,
            &module.origin(),
            "the Module authentication",
            unknown,
        );
    }
    let converted = to_v3alpha1(KIND, Version::V2, config.clone());
    let schema = schema::of(KIND, Version::V3alpha1);
    match deserialize(converted.spec, PATH, schema) {
        Ok(spec) => Some(Object {
            id: Arc::clone(&module.id),
            meta: Arc::clone(&module.meta),
            source: module.source.clone(),
            rkey: Arc::clone(&module.rkey),
            part: None,
            spec,
        }),
        Err(mistake) => {
            mistake.report(report, &module.origin(), "write an AuthService");
            None
        }
    }
}
