//! Which endpoints and routes does the cluster hold?
