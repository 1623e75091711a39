//! A small upstream that says what it was asked: HTTP/1.1, HTTP/2, gRPC, WebSocket, TLS
