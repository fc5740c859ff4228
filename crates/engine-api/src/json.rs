//! How is JSON read in one pass, without a tree?
//!
//! A cursor over text that is known to be UTF-8. It borrows strings that hold no escapes, skips values it is not
//! asked for without recursion, and is exactly as lenient as Python's `json` where that decides whether an engine
//! would have accepted the body: `NaN` and `Infinity` are numbers, lone surrogate escapes are characters.

mod cursor;
mod number;
mod skip;
mod string;

pub(crate) use cursor::{Cursor, Fault};
pub(crate) use skip::MAX_DEPTH;
