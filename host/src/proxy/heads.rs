//! Connections whose request heads are unfinished, by address: however many somebody opens and never finishes, others get in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// A head is given this long before it can be closed for others: one that honest clients send is there by then.
const SPARED: Duration = Duration::from_millis(500);

/// All unfinished heads. No more than there are connections.
pub(super) struct Heads {
    limit: usize,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    /// By address, in the order of their beginning.
    open: BTreeMap<IpAddr, BTreeMap<u64, (Instant, Arc<Notify>)>>,
}

/// One unfinished head. It is finished when this is dropped.
pub(super) struct Unfinished {
    inner: Arc<Mutex<Inner>>,
    address: IpAddr,
    number: u64,
}

impl Heads {
    pub(super) fn new(limit: usize) -> Heads {
        Heads { limit, inner: Arc::default() }
    }

    /// A head of that address is unfinished from now on. When there are too many, the oldest that had its time is told to end.
    pub(super) fn begin(&self, now: Instant, address: IpAddr, evict: Arc<Notify>) -> Unfinished {
        let mut inner = self.inner.lock().expect("nothing panics while it is held");
        let number = inner.next;
        inner.next += 1;
        let open = inner.open.entry(address).or_default();
        open.insert(number, (now, evict));
        if open.len() > self.limit
            && let Some((&oldest, (since, evict))) = open.first_key_value()
            && now.duration_since(*since) >= SPARED
        {
            evict.notify_one();
            open.remove(&oldest);
        }
        Unfinished { inner: self.inner.clone(), address, number }
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut inner = self.inner.lock().expect("nothing panics while it is held");
        if let Some(open) = inner.open.get_mut(&self.address) {
            open.remove(&self.number);
            if open.is_empty() {
                inner.open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_unfinished_head_of_an_address_makes_room_once_it_had_its_time() {
        let heads = Heads::new(2);
        let (here, there) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let tell: Vec<Arc<Notify>> = (0..5).map(|_| Arc::default()).collect();
        let is_told = |at: usize| {
            let mut told = Box::pin(tell[at].notified());
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            told.as_mut().poll(&mut cx).is_ready()
        };
        let now = Instant::now();
        let _first = heads.begin(now, here, tell[0].clone());
        let second = heads.begin(now, here, tell[1].clone());
        let _third = heads.begin(now, here, tell[2].clone());
        assert!(!is_told(0), "it has had no time");
        let later = now + SPARED;
        let _other = heads.begin(later, there, tell[3].clone());
        assert!(!is_told(0), "another address does not matter");
        drop(second);
        let _fourth = heads.begin(later, here, tell[4].clone());
        assert!(is_told(0) && !is_told(2) && !is_told(4));
    }
}
