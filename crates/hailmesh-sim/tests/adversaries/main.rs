//! Attackers against production marketplaces: every behaviour alone, and all of them
//! together. Each test prints its seed and a line for each behaviour.

mod alone;
mod together;
