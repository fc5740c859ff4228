//! The scheduler as its users see it: documents in, decisions out.

mod around;
mod decide;
mod documents;
mod fuzz_corpus;
mod llm_d;
mod properties;
mod rows;
