//! Where the answer of one statement is put for the caller who waits for it. Either of the two may go away at any time.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// The end of the caller, who waits for it. Dropping it leaves the answer to nobody; what was not sent by then never is.
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

/// The end of who answers. Dropping it tells the caller that there will be no answer.
pub(crate) struct Question<T>(Arc<Mutex<State<T>>>);

/// There will be no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// Whether the statement may have been sent.
    pub(crate) was_sent: bool,
}

enum State<T> {
    Waiting {
        waker: Option<Waker>,
        /// Whether it may have had an effect.
        is_sent: bool,
    },
    Told(Result<T, Unanswered>),
    /// The caller has what was told, or has gone away.
    Taken,
}

pub(crate) fn slot<T>() -> (Question<T>, Answer<T>) {
    let state = Arc::new(Mutex::new(State::Waiting { waker: None, is_sent: false }));
    (Question(Arc::clone(&state)), Answer(state))
}

impl<T> Question<T> {
    /// Notes that the statement may take effect from now on. False if nobody wants it any more: then it is not to be sent.
    pub(crate) fn send(&self) -> bool {
        match &mut *lock(&self.0) {
            State::Waiting { is_sent, .. } => {
                *is_sent = true;
                true
            }
            State::Told(_) | State::Taken => false,
        }
    }

    pub(crate) fn answer(self, value: T) {
        tell(&self.0, |_| Ok(value));
    }
}

impl<T> Drop for Question<T> {
    fn drop(&mut self) {
        tell(&self.0, |was_sent| Err(Unanswered { was_sent }));
    }
}

/// The first word counts.
fn tell<T>(state: &Mutex<State<T>>, word: impl FnOnce(bool) -> Result<T, Unanswered>) {
    let mut state = lock(state);
    if let State::Waiting { waker, is_sent } = &mut *state {
        let (waker, is_sent) = (waker.take(), *is_sent);
        *state = State::Told(word(is_sent));
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Answer<T> {
    /// Wants no answer any more, and says whether the statement may take effect all the same.
    pub(crate) fn withdraw(self) -> bool {
        // At once, or it might be sent in between. What was told is dropped after the lock.
        let before = std::mem::replace(&mut *lock(&self.0), State::Taken);
        match &before {
            State::Waiting { is_sent, .. } => *is_sent,
            State::Told(Ok(_)) => true,
            State::Told(Err(none)) => none.was_sent,
            State::Taken => false,
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        // What was told is dropped after the lock.
        let _told = std::mem::replace(&mut *lock(&self.0), State::Taken);
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T, Unanswered>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0);
        if let State::Waiting { waker, .. } = &mut *state {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Told(word) => Poll::Ready(word),
            // Nobody asks again who has had the answer.
            State::Waiting { .. } | State::Taken => Poll::Pending,
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

        let (question, answer) = slot::<i32>();
        assert!(question.send());
        let waiting = tokio::spawn(answer);
        tokio::task::yield_now().await;
        drop(question);
        assert_eq!(waiting.await.expect("no panic"), Err(Unanswered { was_sent: true }));

        let (question, answer) = slot();
        drop(answer);
        assert!(!question.send(), "nobody wants it");
        question.answer(7);

        let (question, answer) = slot::<i32>();
        assert!(!answer.withdraw());
        assert!(!question.send());
        let (question, answer) = slot::<i32>();
        assert!(question.send());
        assert!(answer.withdraw(), "it may take effect");
    }
}
