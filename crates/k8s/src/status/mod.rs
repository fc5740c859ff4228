//! What is true of a service, and what can its operator do about it?
