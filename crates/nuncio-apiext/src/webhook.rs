//! How the API server is told whom to ask.

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use nuncio_api::getambassador::GROUP;
use nuncio_api::getambassador::crd::{self, KINDS, WebhookService};
use nuncio_api::policy;
use serde_json::{Value, json};

use crate::manage::FIELD_MANAGER;
use crate::serve::VALIDATE_PATH;

/// The name of the ValidatingWebhookConfiguration.
pub const CONFIGURATION: &str = "nuncio-apiext";

/// The name of the webhook, which `kubectl` shows before what it says.
const WEBHOOK: &str = "validation.getambassador.io";

/// Longest time for an answer, in seconds. Who writes an object waits for it.
const TIMEOUT: i32 = 5;

/// What a CRD says of its conversion.
pub(crate) fn conversion(
    service: &WebhookService,
    bundle: &str,
) -> serde_json::Result<CustomResourceConversion> {
    let bundle = serde_json::to_value(ByteString(bundle.into()))?;
    serde_json::from_value(crd::conversion(service, bundle.as_str()))
}

/// Sets validation up, or changes whom the API server trusts.
pub(crate) async fn apply(
    client: &Client,
    service: &WebhookService,
    bundle: &str,
) -> anyhow::Result<()> {
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let configuration = configuration(service, bundle)?;
    api.patch(CONFIGURATION, &params, &Patch::Apply(configuration))
        .await?;
    Ok(())
}

/// A server that is away refuses nothing: what it would have refused is left out by nuncio, which
/// says so in the object's status.
fn configuration(service: &WebhookService, bundle: &str) -> serde_json::Result<Value> {
    let plurals: Vec<&str> = KINDS.iter().map(|kind| kind.plural).collect();
    Ok(json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION},
        "webhooks": [{
            "name": WEBHOOK,
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "service": {
                    "namespace": service.namespace,
                    "name": service.name,
                    "port": service.port,
                    "path": VALIDATE_PATH,
                },
                "caBundle": serde_json::to_value(ByteString(bundle.into()))?,
            },
            "failurePolicy": "Ignore",
            "matchPolicy": "Exact",
            "sideEffects": "None",
            "timeoutSeconds": TIMEOUT,
            "rules": [{
                "apiGroups": [GROUP],
                "apiVersions": ["v1", "v2", "v3alpha1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": plurals,
                "scope": "Namespaced",
            }, {
                "apiGroups": [policy::GROUP],
                "apiVersions": ["v1alpha1"],
                "operations": ["CREATE", "UPDATE"],
                "resources": ["routepolicies"],
                "scope": "Namespaced",
            }],
        }],
    }))
}
