//! One binary for all behaviour of a fleet that can be seen from outside.

mod correction; // predicted against reported, and what the index does about it
mod counters; // load never leaks and never goes below zero
mod health; // who may be picked
mod kv; // whose word matches rest on
mod membership; // who is there, and for which model
mod spread; // where requests go
mod stages;
mod support;
