//! Marketplaces against each other, on simulated time, through their public contract.

mod faults;
mod matching;
mod scenarios;
mod signatures;
mod world;
