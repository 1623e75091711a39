//! The banner of the diagnostics: what a service beside nuncio has to say
//! (`AMBASSADOR_DIAGD_BANNER_ENDPOINT`).

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A banner must not keep the diagnostics waiting.
const TIMEOUT: Duration = Duration::from_secs(1);
const MAX_BYTES: usize = 64 * 1024;

/// Where the banner is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Banner {
    port: u16,
    path: String,
}

impl Banner {
    /// As in Emissary it can only be on the same machine, at `http://localhost`. An error says what
    /// to write.
    pub fn new(url: &str) -> Result<Self, String> {
        let local = |uri: &Uri| uri.scheme_str() == Some("http") && uri.host() == Some("localhost");
        let uri: Uri = url.parse().ok().filter(local).ok_or(
            "a URL that begins with http://localhost, such as http://localhost:8500/banner",
        )?;
        Ok(Self {
            port: uri.port_u16().unwrap_or(80),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
        })
    }

    /// What it says; nothing when it does not answer, or not soon.
    pub(super) async fn read(&self) -> Option<String> {
        tokio::time::timeout(TIMEOUT, self.get()).await.ok()?
    }

    async fn get(&self) -> Option<String> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))
            .await
            .ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        // It ends with the exchange; what goes wrong shows there.
        tokio::spawn(connection);
        let request = Request::get(&self.path)
            .header(header::HOST, "localhost")
            .body(Empty::<Bytes>::new())
            .ok()?;
        let response = sender.send_request(request).await.ok()?;
        if !response.status().is_success() {
            return None;
        }
        let body = Limited::new(response.into_body(), MAX_BYTES);
        let body = body.collect().await.ok()?.to_bytes();
        Some(String::from_utf8_lossy(&body).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_banner_is_on_this_machine() {
        let banner = Banner::new("http://localhost:8500/banner?a=b").unwrap();
        assert_eq!((banner.port, &*banner.path), (8500, "/banner?a=b"));
        assert_eq!(Banner::new("http://localhost").unwrap().path, "/");
        for wrong in ["https://localhost/", "http://a.com/", "localhost:80", ""] {
            assert!(Banner::new(wrong).is_err(), "{wrong}");
        }
    }
}
