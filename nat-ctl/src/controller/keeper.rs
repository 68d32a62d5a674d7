//! The file by which resting ports outlive the data path, written while the controller runs.
use std::time::{Duration, Instant};

use tokio::task::{JoinHandle, spawn_blocking};

use crate::{
    clock,
    cooling::{Boot, Sessions, Snapshot, Store, encode},
    datapath::State,
    exit::Failure,
};

/// How often the file is written: what a power failure takes is the tuples of sessions that began
/// after the last time.
const INTERVAL: Duration = Duration::from_secs(10);

/// A large file is written less often, so that a disk has no more than this to do on average.
const BYTES_PER_S: u64 = 1_000_000;

/// See the module.
pub struct Keeper {
    store: Store,
    boot: Boot,
    /// When the file is to be written again.
    next: Instant,
    /// The write that is under way: a disk may be slow, and the controller does not wait for it.
    writing: Option<JoinHandle<Result<(), Failure>>>,
    /// What did not work the last time, and has been said.
    said: Option<Failure>,
}

impl Keeper {
    pub fn new(store: Store, boot: Boot) -> Self {
        Self { store, boot, next: Instant::now(), writing: None, said: None }
    }

    /// Writes the file if it is time. To be called within a tokio runtime.
    pub async fn keep(&mut self, state: &impl State) {
        if let Some(writing) = self.writing.take_if(|writing| writing.is_finished()) {
            self.heed(joined(writing).await);
        }
        if self.writing.is_some() || Instant::now() < self.next {
            return;
        }
        match self.bytes(state) {
            Ok(bytes) => {
                self.next = Instant::now() + pause(bytes.len());
                let store = self.store.clone();
                self.writing = Some(spawn_blocking(move || store.write(&bytes)));
            }
            Err(failure) => self.heed(Err(failure)),
        }
    }

    /// Writes the file now.
    pub async fn finish(mut self, state: &impl State) {
        if let Some(writing) = self.writing.take() {
            self.heed(joined(writing).await);
        }
        let written = self.bytes(state).and_then(|bytes| self.store.write(&bytes));
        self.heed(written);
    }

    fn bytes(&self, state: &impl State) -> Result<Vec<u8>, Failure> {
        let snapshot = Snapshot::of(state, Sessions::GoOn, clock::both(), self.boot)?;
        Ok(encode(&snapshot))
    }

    /// Says what has not been said before.
    fn heed(&mut self, written: Result<(), Failure>) {
        let failure = written.err();
        if let Some(failure) =
            failure.as_ref().filter(|failure| self.said.as_ref() != Some(failure))
        {
            tracing::error!("{failure}");
        }
        self.said = failure;
    }
}

async fn joined(writing: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    let ended = writing.await;
    ended.unwrap_or_else(|error| Err(Failure::failed(format!("cannot write: {error}"))))
}

/// How long to wait after a file of this length.
fn pause(bytes: usize) -> Duration {
    INTERVAL.max(Duration::from_secs(bytes as u64 / BYTES_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::fake::Fake;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn the_file_is_written_at_once_then_at_intervals_and_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.cooling");
        let state = Fake::default();
        runtime().block_on(async {
            let mut keeper = Keeper::new(Store::new(folder.path(), "x"), Boot([1; 16]));
            keeper.keep(&state).await;
            keeper.writing.take().unwrap().await.unwrap().unwrap();
            assert!(file.exists());
            std::fs::remove_file(&file).unwrap();
            keeper.keep(&state).await;
            assert!(keeper.writing.is_none(), "it is not time yet");
            keeper.next = Instant::now();
            keeper.keep(&state).await;
            assert!(keeper.writing.is_some());
            keeper.finish(&state).await;
            assert!(file.exists());
        });
    }

    #[test]
    fn a_write_that_fails_is_said_once_and_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("x.cooling")).unwrap();
        let state = Fake::default();
        runtime().block_on(async {
            let mut keeper = Keeper::new(Store::new(folder.path(), "x"), Boot([1; 16]));
            keeper.keep(&state).await;
            let written = joined(keeper.writing.take().unwrap()).await;
            keeper.heed(written);
            assert!(keeper.said.is_some());
            std::fs::remove_dir(folder.path().join("x.cooling")).unwrap();
            keeper.next = Instant::now();
            keeper.keep(&state).await;
            let written = joined(keeper.writing.take().unwrap()).await;
            keeper.heed(written);
            assert_eq!(keeper.said, None);
        });
    }

    #[test]
    fn a_large_file_is_written_less_often() {
        assert_eq!(pause(0), INTERVAL);
        // 400,000 tuples, and a million.
        assert_eq!(pause(9_600_000), INTERVAL);
        assert_eq!(pause(25_165_824), Duration::from_secs(25));
    }
}
