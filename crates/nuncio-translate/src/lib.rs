//! From resources to the model: the store, and one front end for each API
