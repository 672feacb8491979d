//! Proofs of work, looked for away from the loop: one after the other, on a thread that
//! may block.

use hailmesh_market::WorkOrder;
use hailmesh_wire::pow_search;
use tokio::sync::mpsc;

/// Proofs that wait for the loop.
const FOUND: usize = 64;
/// Candidates tried between two looks at whether anybody still wants the answer: some
/// hundredths of a second.
const TRIES: u64 = 1 << 15;

/// An order and its proof.
pub(crate) type Found = (WorkOrder, [u8; 8]);

/// Starts the worker. It ends when either end of the queues is dropped. Orders have no
/// limit of their own: the marketplace gives few at a time, and none may be lost.
pub(crate) fn spawn_worker() -> (mpsc::UnboundedSender<WorkOrder>, mpsc::Receiver<Found>) {
    let (orders, mut inbox) = mpsc::unbounded_channel::<WorkOrder>();
    let (outbox, found) = mpsc::channel(FOUND);
    tokio::spawn(async move {
        while let Some(order) = inbox.recv().await {
            let wanted = outbox.clone();
            let search = tokio::task::spawn_blocking(move || {
                let pow = find(&order, || !wanted.is_closed());
                pow.map(|pow| (order, pow))
            });
            let Ok(Some(found)) = search.await else { break };
            if outbox.send(found).await.is_err() {
                break;
            }
        }
    });
    (orders, found)
}

fn find(order: &WorkOrder, wanted: impl Fn() -> bool) -> Option<[u8; 8]> {
    let mut first = order.first;
    while wanted() {
        let found =
            pow_search(order.network, &order.signer, order.cell, order.issued, order.bits, first, TRIES);
        if found.is_some() {
            return found;
        }
        first = first.wrapping_add(TRIES);
    }
    None
}

#[cfg(test)]
mod tests {
    use hailmesh_types::{NetworkName, PublicKey, Timestamp};
    use hailmesh_wire::{NetworkId, SigningKey, pow_ok};

    use super::*;

    #[tokio::test]
    async fn orders_come_back_as_proofs() {
        let (orders, mut found) = spawn_worker();
        let signer = PublicKey::from(SigningKey::from_bytes(&[7; 32]).verifying_key());
        let network = NetworkId::of(&NetworkName::default());
        for cell in 0..3 {
            let order =
                WorkOrder { network, signer, cell, issued: Timestamp::MIN, bits: 6, first: u64::MAX - 3 };
            orders.send(order).unwrap();
        }
        for cell in 0..3 {
            let (order, pow) = found.recv().await.unwrap();
            assert_eq!(order.cell, cell);
            assert!(pow_ok(network, &signer, cell, Timestamp::MIN, &pow, 6));
        }
    }

    #[test]
    fn nobody_wants_it_any_more() {
        let signer = PublicKey::from(SigningKey::from_bytes(&[7; 32]).verifying_key());
        let network = NetworkId::of(&NetworkName::default());
        let order = WorkOrder { network, signer, cell: 0, issued: Timestamp::MIN, bits: 32, first: 0 };
        assert_eq!(find(&order, || false), None);
    }
}
