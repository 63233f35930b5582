//! Reading a body that may be too large, too slow or never end.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::HttpBody;
use bytes::{Bytes, BytesMut};

/// Bytes of bodies being received, over all connections: what does not fit is told to come back.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    most: usize,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(super) struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

/// Why a body was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyError {
    TooLarge,
    /// Other bodies fill the budget.
    NoRoom,
    /// The sender stopped in the middle.
    Broken,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicUsize::new(0), most })
    }

    pub(super) fn hold(self: &Arc<Budget>) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }
}

impl Held {
    /// Takes `more`; a body alone always finds room, so that one larger than the budget can pass.
    fn take(&mut self, more: usize) -> bool {
        let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
        self.bytes += more;
        before + more <= self.budget.most || before + more == self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The whole body, of at most `most` bytes; one that says it is larger is not read at all.
pub(super) async fn collect<B>(body: B, most: usize, held: &mut Held) -> Result<Bytes, BodyError>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut body = body;
    let said = body.size_hint().lower();
    if said > most as u64 {
        return Err(BodyError::TooLarge);
    }
    // Most bodies come in one piece, which is then used as it is.
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Ok(data) = frame.map_err(|_| BodyError::Broken)?.into_data() else { continue };
        if first.len() + whole.len() + data.len() > most {
            return Err(BodyError::TooLarge);
        }
        if !held.take(data.len()) {
            return Err(BodyError::NoRoom);
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use futures_util::stream;

    use super::*;

    async fn check(pieces: &[&'static str], most: usize, budget: &Arc<Budget>, expect: Result<&str, BodyError>) {
        let pieces = pieces.iter().map(|piece| Ok::<_, Infallible>(Bytes::from_static(piece.as_bytes())));
        let body = Body::from_stream(stream::iter(pieces.collect::<Vec<_>>()));
        let collected = collect(body, most, &mut budget.hold()).await;
        assert_eq!(collected.as_deref(), expect.map(str::as_bytes).as_ref().copied());
    }

    #[tokio::test]
    async fn bodies_are_bounded_alone_and_together() {
        let budget = Budget::new(10);
        check(&[], 5, &budget, Ok("")).await;
        check(&["abc", "", "de"], 5, &budget, Ok("abcde")).await;
        check(&["abc", "def"], 5, &budget, Err(BodyError::TooLarge)).await;
        check(&["0123456789", "0123456789"], 50, &budget, Ok("01234567890123456789")).await;
        let mut other = budget.hold();
        assert!(other.take(6));
        check(&["abc", "def"], 50, &budget, Err(BodyError::NoRoom)).await;
        drop(other);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0, "all is given back");
    }
}
