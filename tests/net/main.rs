//! Whole nodes with real sockets, real stores and the real clock: the stories that the
//! market's own tests tell on simulated time.
//!
//! Every node listens on a free port of the loopback interface and finds the others only
//! by the addresses it is given, so all tests can run at a time.

mod attack;
mod book;
mod city;
mod clocks;
mod crowd;
mod disk;
mod endings;
mod hostile;
mod puppet;
mod raw;
mod restart;
mod settle;
