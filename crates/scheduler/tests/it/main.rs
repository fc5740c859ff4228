//! The scheduler as its users see it: documents in, decisions out.

mod decide;
mod documents;
mod properties;
mod rows;
