//! Marketplaces against each other, on simulated time, through their public contract.

mod compare;
mod faults;
mod scenarios;
mod sharing;
mod world;
