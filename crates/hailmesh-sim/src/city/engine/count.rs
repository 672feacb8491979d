//! What is counted of frames and of gossip.

use super::Engine;
use crate::city::shard::Shard;

impl Engine {
    pub(super) fn count_request(&mut self, frame: &[u8]) {
        if frame_kind(frame) == Some(hailmesh_wire::Kind::Request) {
            self.traffic.handshakes += 1;
        }
    }

    pub(super) fn count_refusal(&mut self, frame: &[u8]) {
        if frame_kind(frame) == Some(hailmesh_wire::Kind::Reject) {
            self.traffic.conflicts += 1;
        }
    }
}

/// The delays that half and that 99 of 100 gossip messages do not exceed, milliseconds.
pub(super) fn delays_of(shards: &[Shard]) -> (u32, u32) {
    let longest = shards.iter().map(|shard| shard.delays.len()).max().unwrap_or(0);
    let at = |ms: usize| shards.iter().filter_map(|shard| shard.delays.get(ms)).sum::<u64>();
    let all: u64 = (0..longest).map(at).sum();
    let quantile = |percent: u64| {
        let mut before = 0;
        let found = (0..longest).find(|ms| {
            before += at(*ms);
            before * 100 >= all * percent
        });
        found.and_then(|ms| u32::try_from(ms).ok()).unwrap_or(0)
    };
    (quantile(50), quantile(99))
}

/// The kind of statement in a frame, from its first bytes.
fn frame_kind(frame: &[u8]) -> Option<hailmesh_wire::Kind> {
    use hailmesh_wire::{Frame, FrameContent, Header};
    match Frame::decode(frame).ok()?.content {
        FrameContent::Statement(bytes) => Header::peek(&bytes).ok()?.kind().ok(),
        _ => None,
    }
}
