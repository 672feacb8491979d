//! What every host of a run is given, from its settings.

use std::sync::Arc;

use hailmesh_market::Config;
use hailmesh_types::Resolution;
use hailmesh_wire::{Ed25519, Signatures, SimulatedSignatures};

use crate::city::settings::{Settings, Signing};
use crate::policy::Policy;

/// The configuration of every node of a run.
pub(super) fn config(settings: &Settings, policy: Policy) -> Config {
    let mut config = settings.node.clone();
    if let Policy::PeerToPeer(Some(rule)) = policy {
        config.policy = rule;
    }
    config.rider_precision = settings.rider_precision;
    config
}

/// The resolutions at which anybody shows a place: offers, and the pickup of a REQUEST.
pub(super) fn shown(settings: &Settings) -> Vec<Resolution> {
    let mut shown = vec![settings.driver_precision, settings.rider_precision, Resolution::PICKUP];
    shown.sort_unstable();
    shown.dedup();
    shown
}

pub(super) fn signatures(signing: Signing, seed: u64) -> Arc<dyn Signatures> {
    match signing {
        Signing::Real => Arc::new(Ed25519),
        Signing::StandIn => {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&seed.to_le_bytes());
            Arc::new(SimulatedSignatures::new(secret))
        }
    }
}
