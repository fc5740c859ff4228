//! The gateway over real sockets, before engines that do exactly what a test says.

// A test that cannot go on should stop where it is.
#![allow(clippy::unwrap_used)]

mod admin; // what an operator sees and does
mod asking; // tokens by an engine's word
mod bodies; // what is sent on is what came in
mod engines; // before real engines
mod errors; // every way to be refused, with status and words
mod ext_proc; // requests decided for a data plane
mod generate; // engines' own generate routes
mod pools; // what one pool does not know of another
mod protocol; // HTTP versions, methods, headers
mod rename; // the client's name for a model, back in its answer
mod retry; // what happens when an engine fails
mod routes; // which pool and endpoint a request goes to
mod slow; // clients slow to say or to take something
mod stages; // documents that split requests or let them wait
mod streams; // what is passed through of a response, and how it ends
mod support; // fakes
mod tls; // engines behind TLS
mod tokens; // the tokens of the engine, before it is asked
