//! Marketplaces against each other, on simulated time, through their public contract.

mod clocks;
mod compare;
mod faults;
mod ghosts;
mod history;
mod matching;
mod outbox;
mod ride;
mod scenarios;
mod sharing;
mod signatures;
mod witness;
mod work;
mod world;
