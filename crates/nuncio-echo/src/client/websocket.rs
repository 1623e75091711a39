use std::io;

use futures::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::{Stream, Target};

/// One WebSocket.
pub struct WebSocket(WebSocketStream<Box<dyn Stream>>);

impl WebSocket {
    /// Upgrades a connection; the error says the status when that is refused.
    pub async fn connect(target: &Target, host: &str, path: &str) -> io::Result<Self> {
        let connection = target.connect(&["http/1.1"]).await?;
        let uri = format!("ws://{host}{path}");
        let (socket, _) = client_async(uri, connection.stream)
            .await
            .map_err(io::Error::other)?;
        Ok(Self(socket))
    }

    /// Sends a text and returns what comes back.
    pub async fn echo(&mut self, text: &str) -> Result<String, tungstenite::Error> {
        self.0.send(Message::text(text)).await?;
        loop {
            match self.0.next().await {
                Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(tungstenite::Error::ConnectionClosed);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
            }
        }
    }
}
