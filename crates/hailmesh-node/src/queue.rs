//! Effects in the order in which they were decided, with durability between them.
//!
//! An effect that was decided after a batch of records must not happen before the batch
//! is durable (P11.1); one that was decided before it need not wait. So the queue holds
//! both, in order. While one commit is on its way everything behind it waits, and all
//! batches that gather meanwhile become the next commit: group commit.

use std::collections::VecDeque;

use hailmesh_market::Record;

/// The queue; `E` is what is to be done.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    items: VecDeque<Item<E>>,
    committing: bool,
}

#[derive(Debug)]
enum Item<E> {
    /// Records that are not yet on their way.
    Batch(Vec<Record>),
    /// Records that are.
    InFlight,
    /// Something to be done.
    Effect(E),
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { items: VecDeque::new(), committing: false }
    }
}

impl<E> Queue<E> {
    /// What follows waits until these records are durable.
    pub(crate) fn push_batch(&mut self, records: Vec<Record>) {
        self.items.push_back(Item::Batch(records));
    }

    pub(crate) fn push(&mut self, effect: E) {
        self.items.push_back(Item::Effect(effect));
    }

    /// The next effect that nothing holds back.
    pub(crate) fn pop(&mut self) -> Option<E> {
        match self.items.pop_front()? {
            Item::Effect(effect) => Some(effect),
            held => {
                self.items.push_front(held);
                None
            }
        }
    }

    /// Everything there is to commit, unless a commit is on its way.
    pub(crate) fn begin_commit(&mut self) -> Option<Vec<Vec<Record>>> {
        if self.committing {
            return None;
        }
        let mut batches = Vec::new();
        for item in &mut self.items {
            if let Item::Batch(_) = item
                && let Item::Batch(records) = std::mem::replace(item, Item::InFlight)
            {
                batches.push(records);
            }
        }
        self.committing = !batches.is_empty();
        self.committing.then_some(batches)
    }

    /// Whether a commit is on its way.
    pub(crate) const fn is_committing(&self) -> bool {
        self.committing
    }

    /// The commit on its way is durable.
    pub(crate) fn committed(&mut self) {
        self.committing = false;
        self.items.retain(|item| !matches!(item, Item::InFlight));
    }

    /// Gives up everything: the effects that will now never happen.
    pub(crate) fn abandon(&mut self) -> Vec<E> {
        self.committing = false;
        let effects = self.items.drain(..).filter_map(|item| match item {
            Item::Effect(effect) => Some(effect),
            Item::Batch(_) | Item::InFlight => None,
        });
        effects.collect()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut Queue<u32>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn nothing_overtakes_its_records() {
        let mut queue = Queue::default();
        queue.push(1);
        queue.push_batch(Vec::new());
        queue.push(2);
        assert_eq!(drain(&mut queue), [1]);
        assert_eq!(queue.begin_commit().map(|batches| batches.len()), Some(1));
        // Decided while the commit is on its way.
        queue.push_batch(Vec::new());
        queue.push(3);
        queue.push_batch(Vec::new());
        queue.push(4);
        assert!(queue.begin_commit().is_none());
        assert!(drain(&mut queue).is_empty());
        queue.committed();
        assert_eq!(drain(&mut queue), [2]);
        assert_eq!(queue.begin_commit().map(|batches| batches.len()), Some(2));
        queue.committed();
        assert_eq!(drain(&mut queue), [3, 4]);
        assert!(queue.is_empty());
    }

    #[test]
    fn effects_without_records_wait_only_for_those_before_them() {
        let mut queue = Queue::default();
        queue.push_batch(Vec::new());
        assert!(queue.begin_commit().is_some());
        queue.push(1);
        assert!(drain(&mut queue).is_empty());
        queue.committed();
        assert_eq!(drain(&mut queue), [1]);
        queue.push(2);
        assert_eq!(drain(&mut queue), [2]);
        assert!(queue.begin_commit().is_none());
    }

    #[test]
    fn what_was_not_durable_never_happens() {
        let mut queue = Queue::default();
        queue.push_batch(Vec::new());
        queue.push(1);
        assert!(queue.begin_commit().is_some());
        queue.push_batch(Vec::new());
        queue.push(2);
        assert_eq!(queue.abandon(), [1, 2]);
        assert!(queue.is_empty() && queue.begin_commit().is_none());
    }
}
