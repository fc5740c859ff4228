//! Does every codec read what engines and clients really send, and survive what they do not?

mod bodies;
mod canonical;
mod chunks;
mod fuzz_corpus;
mod json_edges;
mod lists;
mod never_panic;
mod pages;
mod stream;
