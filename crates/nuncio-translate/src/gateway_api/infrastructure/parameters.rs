//! What a GatewayClass or a Gateway says of the Service that a Gateway gets: a ConfigMap with the key
//! `service`. What a Gateway says counts before what its class says.

use std::collections::BTreeMap;

use nuncio_api::gateway_api::{self as api, ObjectReference};
use nuncio_api::yaml;
use nuncio_model::value::Invalid;
use nuncio_model::{Origin, Reason};
use serde::Deserialize;

use crate::ServiceType;
use crate::gateway_api::{Context, Fault, class};
use crate::store::Object;

/// Where it stands in a ConfigMap.
const KEY: &str = "service";

const REASON: &str = "InvalidParameters";

#[derive(Clone, Debug, Default)]
pub(super) struct Parameters {
    pub(super) type_: Option<ServiceType>,
    pub(super) load_balancer_class: Option<String>,
}

/// What is said of the Gateways of each class that says something.
pub(in crate::gateway_api) type OfClasses = BTreeMap<String, Result<Of, Fault>>;

#[derive(Clone, Debug)]
pub(in crate::gateway_api) struct Of(Parameters);

pub(in crate::gateway_api) fn of_classes(context: &mut Context<'_>) -> OfClasses {
    let mut all = OfClasses::new();
    for class in class::classes(context.store) {
        let Some(reference) = &class.spec.parameters_ref else {
            continue;
        };
        let at = class.at("spec.parametersRef");
        let namespace = reference.namespace.as_deref().unwrap_or_default();
        let read = read(context, &at, reference, namespace);
        all.insert(class.name().to_owned(), read.map(Of));
    }
    all
}

pub(super) fn of_gateway(
    context: &mut Context<'_>,
    gateway: &Object<api::Gateway>,
    classes: &OfClasses,
) -> Result<Parameters, Fault> {
    let name = &gateway.spec.gateway_class_name;
    let of_class = match classes.get(name) {
        None => Parameters::default(),
        Some(Ok(Of(parameters))) => parameters.clone(),
        Some(Err(_)) => {
            return Err(context.fault(
                &gateway.at("spec.gatewayClassName"),
                Reason::RefInvalid,
                REASON,
                format!("the parameters of GatewayClass {name} are wrong"),
                "mend the GatewayClass",
            ));
        }
    };
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let reference =
        infrastructure.and_then(|infrastructure| infrastructure.parameters_ref.as_ref());
    let Some(reference) = reference else {
        return Ok(of_class);
    };
    let at = gateway.at("spec.infrastructure.parametersRef");
    let own = read(context, &at, reference, gateway.namespace())?;
    Ok(Parameters {
        type_: own.type_.or(of_class.type_),
        load_balancer_class: own.load_balancer_class.or(of_class.load_balancer_class),
    })
}

fn read(
    context: &mut Context<'_>,
    at: &Origin,
    reference: &ObjectReference,
    namespace: &str,
) -> Result<Parameters, Fault> {
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or_default();
    if (group, kind) != ("", "ConfigMap") {
        return Err(context.fault(
            at,
            Reason::RefInvalid,
            REASON,
            format!("parameters are not read from a {}", kind.escape_debug()),
            "name a ConfigMap",
        ));
    }
    if context.settings.gateway_services.is_none() {
        return Err(context.fault(
            at,
            Reason::NotSupported,
            REASON,
            "there is nothing to say of a Gateway's Service: Gateways have none",
            "start nuncio with --gateway-services, or remove parametersRef",
        ));
    }
    let name = &reference.name;
    let Some(map) = context.store.config_maps.get(namespace, name) else {
        return Err(context.fault(
            at,
            Reason::RefNotFound,
            REASON,
            format!("there is no ConfigMap {name} in namespace {namespace}"),
            "create it, or name one that exists",
        ));
    };
    parse(map.spec.data.get(KEY).map(String::as_str)).map_err(|what| {
        let message = format!("ConfigMap {namespace}/{name}: {}", what.message);
        context.invalid(at, REASON, Invalid::new(message, what.help))
    })
}

fn parse(text: Option<&str>) -> Result<Parameters, Invalid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Written {
        #[serde(rename = "type")]
        type_: Option<String>,
        load_balancer_class: Option<String>,
    }
    const HELP: &str = "write data: {service: \"type: LoadBalancer\"}, with the fields type and \
                        loadBalancerClass";
    let Some(text) = text else {
        return Err(Invalid::new(format!("it has no {KEY}"), HELP));
    };
    let wrong = |what: String| Invalid::new(format!("{KEY}: {what}"), HELP);
    let documents = yaml::documents(text).map_err(|error| wrong(error.to_string()))?;
    let [document] = <[_; 1]>::try_from(documents)
        .map_err(|all| wrong(format!("it is {} documents", all.len())))?;
    let written: Written =
        serde_json::from_value(document).map_err(|error| wrong(error.to_string()))?;
    let type_ = written.type_.map(|text| text.parse().map_err(wrong));
    Ok(Parameters {
        type_: type_.transpose()?,
        load_balancer_class: written.load_balancer_class,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let parsed = parse(Some("type: NodePort\nloadBalancerClass: a/b\n")).unwrap();
        assert_eq!(parsed.type_, Some(ServiceType::NodePort));
        assert_eq!(parsed.load_balancer_class.as_deref(), Some("a/b"));
        for (text, says) in [
            (None, "it has no service"),
            (
                Some("type: None"),
                "service: \"None\" is not a type of Service",
            ),
            (Some("ports: []"), "service: unknown field `ports`"),
            (Some(""), "service: it is 0 documents"),
            (Some("{"), "service: line 1"),
        ] {
            let message = parse(text).unwrap_err().message;
            assert!(message.starts_with(says), "{message}");
        }
    }
}
