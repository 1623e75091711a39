//! The resources nuncio reads: getambassador.io and the core Kubernetes kinds
