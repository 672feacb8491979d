//! Real processes of the `hailmesh` program: the walk of the two terminals, processes that
//! are killed, exit codes, bad input, what is in the logs.

mod bad_input;
mod exits;
mod logs;
mod process;
mod restart;
mod sim;
mod walk;
