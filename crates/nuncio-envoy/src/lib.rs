//! From the model to Envoy: one encoder for each kind of resource, and the bootstrap
