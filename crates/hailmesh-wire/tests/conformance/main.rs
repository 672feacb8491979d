//! Fares, receipts and evidence against the protocol, and the golden vectors that every
//! other implementation can read.

mod evidence;
mod fare;
mod honest;
mod receipt;
mod ride;
mod samples;
mod vectors;
