//! A command's end of the control socket.
use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use super::{Answer, Request};
use crate::exit::Failure;

/// The longest that a controller may take to answer: a configuration with the most rules.
const ANSWER_PATIENCE: Duration = Duration::from_secs(60);

/// Asks the controller at `path`. Nothing if none is there.
pub fn ask(path: &Path, request: &Request) -> Result<Option<Answer>, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!("cannot speak to the controller\n  caused by: {error}"))
    };
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    stream.set_read_timeout(Some(ANSWER_PATIENCE)).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
    serde_json::from_str(&answer).map(Some).map_err(|error| failed(error.into()))
}
