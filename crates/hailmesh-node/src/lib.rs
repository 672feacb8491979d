//! One process: event loop, clock, keys, configuration
