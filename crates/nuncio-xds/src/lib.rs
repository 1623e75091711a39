//! The delta ADS server
