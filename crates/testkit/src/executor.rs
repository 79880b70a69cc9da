//! Runs the domain's futures without a runtime: nothing in memory ever waits for anything but its turn.

use std::{
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use crate::World;

/// Runs a future that waits for nothing.
///
/// # Panics
/// When it waits.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a port waits, and nobody takes turns"),
    }
}

/// Runs steps beside each other: before each call to the world, the next to go on is drawn from `seed`. Answers in the order of the
/// futures. Faults and hooks count calls of all of them together.
pub fn interleave<'a, T>(
    world: &World,
    futures: Vec<Pin<Box<dyn Future<Output = T> + 'a>>>,
    seed: u64,
) -> Vec<T> {
    world.take_turns(true);
    let mut waiting: Vec<_> = futures.into_iter().map(Some).collect();
    let mut answers: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    let mut state = seed;
    while waiting.iter().any(Option::is_some) {
        let open: Vec<usize> = (0..waiting.len()).filter(|index| waiting[*index].is_some()).collect();
        // SplitMix64, by Steele, Lea and Flood: enough to draw turns, and the same on every machine.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = state;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^= drawn >> 31;
        let next = open[usize::try_from(drawn % open.len() as u64).unwrap()];
        let polled = waiting[next].as_mut().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if let Poll::Ready(answer) = polled {
            answers[next] = Some(answer);
            waiting[next] = None;
        }
    }
    world.take_turns(false);
    answers.into_iter().map(Option::unwrap).collect()
}

/// Gives the turn away once.
pub(crate) struct Turn(pub(crate) bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::take(&mut self.0) { Poll::Pending } else { Poll::Ready(()) }
    }
}
