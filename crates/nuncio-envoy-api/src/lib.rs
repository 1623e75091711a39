//! Envoy's API: generated messages that encode to the same bytes everywhere, and their JSON
