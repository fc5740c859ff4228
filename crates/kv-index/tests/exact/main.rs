//! The exact index through its public face.

mod bounds;
mod model;
mod naive;
mod threads;
