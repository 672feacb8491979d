//! Whole cities: hundreds of production marketplaces on simulated time, and what must
//! hold in every one of them.
//!
//! Each test prints its seed first; the same seed gives the same run.

mod faults;
mod matching;
mod people;
