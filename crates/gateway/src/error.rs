//! How does an error become HTTP?
