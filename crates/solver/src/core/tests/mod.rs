//! The core, driven without a runtime: graphs in text, every task carried out by hand.

mod audit;
mod behaviour;
mod random;
mod scale;
mod sim;
