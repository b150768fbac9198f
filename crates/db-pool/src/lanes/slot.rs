//! Where the answer of one statement is put for the caller who waits for it. Either of the two may go away at any time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The end of the caller, who waits for it. Dropping it leaves the answer to nobody.
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

/// The end of who answers. Dropping it tells the caller that there will be no answer.
pub(crate) struct Question<T> {
    state: Arc<Mutex<State<T>>>,
    /// Whether it may have had an effect.
    is_sent: bool,
}

/// There will be no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// Whether the statement may have been sent.
    pub(crate) was_sent: bool,
}

enum State<T> {
    Waiting(Option<Waker>),
    Told(Result<T, Unanswered>),
    Taken,
}

pub(crate) fn slot<T>() -> (Question<T>, Answer<T>) {
    let state = Arc::new(Mutex::new(State::Waiting(None)));
    (Question { state: Arc::clone(&state), is_sent: false }, Answer(state))
}

impl<T> Question<T> {
    /// Notes that the statement may take effect from now on.
    pub(crate) fn sent(&mut self) {
        self.is_sent = true;
    }

    pub(crate) fn answer(self, value: T) {
        tell(&self.state, Ok(value));
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        tell(&self.state, Err(Unanswered { was_sent: self.is_sent }));
    }
}

/// The first word counts.
fn tell<T>(state: &Mutex<State<T>>, word: Result<T, Unanswered>) {
    let mut state = lock(state);
    if let State::Waiting(waker) = &mut *state {
        let waker = waker.take();
        *state = State::Told(word);
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Unanswered>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0);
        if let State::Waiting(waker) = &mut *state {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Told(word) => Poll::Ready(word),
            // Nobody asks again who has had the answer.
            State::Waiting(_) | State::Taken => Poll::Pending,
        }
    }
}

fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_comes_once_and_whoever_goes_away_is_noticed() {
        let (question, answer) = slot();
        let waiting = tokio::spawn(answer);
        tokio::task::yield_now().await;
        question.answer(7);
        assert_eq!(waiting.await.expect("no panic"), Ok(7));

        let (question, answer) = slot::<i32>();
        drop(question);
        assert_eq!(answer.await, Err(Unanswered { was_sent: false }));

        let (mut question, answer) = slot::<i32>();
        question.sent();
        let waiting = tokio::spawn(answer);
        tokio::task::yield_now().await;
        drop(question);
        assert_eq!(waiting.await.expect("no panic"), Err(Unanswered { was_sent: true }));

        let (question, answer) = slot();
        drop(answer);
        question.answer(7);
    }
}
