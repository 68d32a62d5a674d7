//! The controller's end of the control socket.
use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::unistd::geteuid;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{Answer, Call, Request};
use crate::exit::Failure;

/// Whoever connects says what they want within this time.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// The longest request: a configuration, each byte of it escaped.
const REQUEST_BYTES_MAX: u64 = 8 << 20;
/// Connections that wait for the controller.
const CALLS_WAITING_MAX: usize = 16;

/// The socket's file; removed when dropped.
pub struct Socket {
    path: PathBuf,
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Listens at `path` and hands requests on. To be called by the one who holds the instance's lock:
/// a socket that is there is a dead controller's.
pub fn listen(path: &Path) -> Result<(Socket, mpsc::Receiver<Call>), Failure> {
    let failed = |error: io::Error| {
        Failure::host(format!("cannot listen at {}\n  caused by: {error}", path.display()))
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let _ = fs::remove_file(path);
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Everybody may ask; who may change is decided by who they are.
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    let (sender, receiver) = mpsc::channel(CALLS_WAITING_MAX);
    tokio::spawn(accept(listener, sender));
    Ok((Socket { path: path.to_owned() }, receiver))
}

async fn accept(listener: UnixListener, calls: mpsc::Sender<Call>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(converse(stream, calls.clone()));
            }
            Err(error) => {
                tracing::warn!("control socket: {error}");
                // Out of descriptors, most likely: others have to close theirs first.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(mut stream: UnixStream, calls: mpsc::Sender<Call>) {
    // Dropped, and with that reported, when this conversation is over.
    let (_delivered, delivered) = oneshot::channel();
    let answer = match timeout(REQUEST_PATIENCE, hear(&mut stream)).await {
        Ok(Ok(request)) => ask(request, delivered, &calls).await,
        Ok(Err(failure)) => failure.into(),
        Err(_) => Failure::usage("no request came").into(),
    };
    let mut line = serde_json::to_vec(&answer).unwrap_or_default();
    line.push(b'\n');
    // Whoever asked may have gone.
    let _ = stream.write_all(&line).await;
}

/// Reads a request, if its sender may make it.
async fn hear(stream: &mut UnixStream) -> Result<Request, Failure> {
    let unreadable = |error: io::Error| Failure::usage(format!("unreadable request: {error}"));
    let peer = stream.peer_cred().map_err(unreadable)?;
    let mut line = String::new();
    let mut limited = BufReader::new(stream.take(REQUEST_BYTES_MAX));
    limited.read_line(&mut line).await.map_err(unreadable)?;
    let request: Request = serde_json::from_str(&line).map_err(|error| unreadable(error.into()))?;
    if request.changes() && !may_change(peer.uid(), geteuid().as_raw()) {
        return Err(Failure::host(format!("user {} may not change this instance", peer.uid()))
            .with_help("run it as root, or as the controller's user"));
    }
    Ok(request)
}

/// Who may change what packets do: root, and whoever runs the controller.
const fn may_change(peer: u32, controller: u32) -> bool {
    peer == 0 || peer == controller
}

async fn ask(
    request: Request,
    delivered: oneshot::Receiver<()>,
    calls: &mpsc::Sender<Call>,
) -> Answer {
    let (answer, answered) = oneshot::channel();
    let gone = || Failure::failed("the controller is about to end").into();
    if calls.send(Call { request, answer, delivered }).await.is_err() {
        return gone();
    }
    answered.await.unwrap_or_else(|_| gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_and_the_controllers_user_may_change() {
        assert!(may_change(0, 0) && may_change(0, 990) && may_change(990, 990));
        assert!(!may_change(1000, 0) && !may_change(1000, 990));
    }
}
