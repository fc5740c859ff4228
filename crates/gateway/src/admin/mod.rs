//! What may an operator ask and do?
