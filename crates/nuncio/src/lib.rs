//! The parts of the nuncio binary that its tests reach.

pub mod supervisor;
