//! The core, driven without a runtime: graphs in text, every task carried out by hand.

mod audit;
mod behaviour;
mod edges;
mod random;
mod remote;
mod scale;
mod sim;
