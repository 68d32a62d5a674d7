//! A background thread that ends when its handle is stopped or dropped.

use std::{
    io::{PipeReader, PipeWriter, pipe},
    os::fd::{AsFd, BorrowedFd},
    panic, thread,
    thread::JoinHandle,
};

/// Becomes readable when the worker has to end, so that it can be polled beside a socket.
pub struct StopSignal(PipeReader);

impl AsFd for StopSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The handle of a background thread.
pub struct Worker<T> {
    /// Closing the pipe is the signal.
    stop: Option<PipeWriter>,
    thread: Option<JoinHandle<T>>,
}

impl<T: Send + 'static> Worker<T> {
    /// Starts `work`, which must return soon after its signal became readable.
    pub fn start(name: &str, work: impl FnOnce(StopSignal) -> T + Send + 'static) -> Self {
        let (reader, writer) = pipe().expect("create a pipe");
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || work(StopSignal(reader)))
            .expect("start a thread");
        Self { stop: Some(writer), thread: Some(thread) }
    }

    /// Stops the thread and returns what it made; its panic goes on here.
    pub fn stop(mut self) -> T {
        self.stop.take();
        match self.thread.take().expect("only stop() and drop() take the thread").join() {
            Ok(value) => value,
            Err(payload) => panic::resume_unwind(payload),
        }
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let failed = thread.join().is_err();
            assert!(!failed || thread::panicking(), "a background thread panicked, see above");
        }
    }
}
