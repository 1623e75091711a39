//! `/ambassador/v0/diag/explain?url=…`: what becomes of a request.

use axum::Json;
use axum::extract::{Query, State as Extract};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use nuncio_explain::{Explainer, Request};

use super::{Admin, text};
use crate::explain::not_in_effect;

/// `method`, `header` (several), `port` and `from` are those of `nuncio explain`.
pub(super) async fn explain(
    Extract(admin): Extract<Admin>,
    Query(parameters): Query<Vec<(String, String)>>,
) -> Response {
    let request = match request(&parameters) {
        Ok(request) => request,
        Err(message) => return text(StatusCode::BAD_REQUEST, format!("{message}\n")),
    };
    let served = admin.served.borrow().clone();
    let mut explanation = Explainer::new(&served.gateway).explain(&request);
    explanation.notes.extend(not_in_effect(&admin.report()));
    Json(explanation).into_response()
}

fn request(parameters: &[(String, String)]) -> Result<Request, String> {
    let all = |name: &str| {
        let named = parameters.iter().filter(move |(own, _)| own == name);
        named.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let one = |name: &str| all(name).last().copied().filter(|value| !value.is_empty());
    let url =
        one("url").ok_or("url is missing; write ?url= and a URL such as http://a.example/")?;
    let method = one("method").unwrap_or("GET");
    let mut request =
        Request::parse(method, url, all("header")).map_err(|error| error.to_string())?;
    let port = one("port").map(str::parse).transpose();
    request.listener_port = port.map_err(|_| "port is not one; write a number from 1 to 65535")?;
    let from = one("from").map(str::parse).transpose();
    request.client = from.map_err(|_| "from is no address; write one such as 10.0.0.1")?;
    Ok(request)
}
