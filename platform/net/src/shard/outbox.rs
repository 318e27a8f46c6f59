//! What waits to be written to one connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

use crate::core::CloseReason;

/// Small messages are put together up to this size, to save system calls and TLS records.
const COALESCE: usize = 16 * 1024;

/// A bounded queue between the engine (pushes) and one connection's task (takes), same thread.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: RefCell<VecDeque<Bytes>>,
    /// Pushed and not yet reported written.
    unwritten: Cell<usize>,
    limit: usize,
    ending: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
}

/// The engine's wish that a connection end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// At once.
    Now(CloseReason),
    /// When the queue is written.
    Flushed,
}

impl Outbox {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            queue: RefCell::default(),
            unwritten: Cell::new(0),
            limit,
            ending: Cell::new(None),
            waker: RefCell::new(None),
        }
    }

    /// Queues a message; false if the reader is too far behind. An empty outbox takes any message.
    pub(crate) fn push(&self, message: Bytes) -> bool {
        let total = self.unwritten.get() + message.len();
        if total > self.limit && self.unwritten.get() > 0 {
            return false;
        }
        self.unwritten.set(total);
        self.queue.borrow_mut().push_back(message);
        self.wake();
        true
    }

    /// Asks the connection to end.
    pub(crate) fn end(&self, ending: Ending) {
        self.ending.set(Some(ending));
        self.wake();
    }

    pub(crate) fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// The next message, alone (WebSocket: one per frame).
    pub(crate) fn pop(&self) -> Option<Bytes> {
        self.queue.borrow_mut().pop_front()
    }

    /// The next bytes of a stream: one message, or several small ones put together.
    pub(crate) fn take(&self) -> Bytes {
        let mut queue = self.queue.borrow_mut();
        let Some(first) = queue.pop_front() else { return Bytes::new() };
        if queue.front().is_none_or(|next| first.len() + next.len() > COALESCE) {
            return first;
        }
        let mut joined = BytesMut::from(&first[..]);
        while queue.front().is_some_and(|next| joined.len() + next.len() <= COALESCE) {
            if let Some(next) = queue.pop_front() {
                joined.extend_from_slice(&next);
            }
        }
        joined.freeze()
    }

    /// Reports bytes as written.
    pub(crate) fn written(&self, bytes: usize) {
        self.unwritten.set(self.unwritten.get().saturating_sub(bytes));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Ready when the connection is to end now, or, if it is not writing anyway, when there is
    /// something to write or to end after.
    pub(crate) fn poll_wanted(&self, cx: &mut Context<'_>, writing: bool) -> Poll<()> {
        let wanted = match self.ending.get() {
            Some(Ending::Now(_)) => true,
            ending => !writing && (ending.is_some() || !self.is_empty()),
        };
        if wanted {
            return Poll::Ready(());
        }
        self.register(cx);
        Poll::Pending
    }

    /// Wakes this task at the next push or ending.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_by_unwritten_bytes() {
        let outbox = Outbox::new(10);
        assert!(outbox.push(Bytes::from_static(b"longer than ten")), "an empty one takes any");
        assert!(!outbox.push(Bytes::from_static(b"x")));
        assert_eq!(outbox.take().len(), 15);
        assert!(!outbox.push(Bytes::from_static(b"x")), "taken is not yet written");
        outbox.written(15);
        assert!(outbox.push(Bytes::from_static(b"ab")) && outbox.push(Bytes::from_static(b"cd")));
        assert_eq!(&outbox.take()[..], b"abcd");
        assert!(outbox.is_empty());
    }
}
