//! Fields that several kinds have, which mean the same wherever they stand: pure readers, from what is
//! written to checked values. Each is told at which field that is, and a mistake names it.

pub(crate) mod connection;
pub(crate) mod error_response;
pub(crate) mod health;
pub(crate) mod labels;
pub(crate) mod load_balancer;
pub(crate) mod mistake;
pub(crate) mod request;
pub(crate) mod values;
