//! Which objects does a service need?
