//! The scheduler as its users see it: documents in, decisions out.

mod bench_rows;
mod decide;
