//! Machine output: one JSON document, one line.

use std::io::{self, Write};

use serde::Serialize;

/// Writes the value and one newline. Streams: a session table need not fit into memory twice.
pub fn write(value: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    // serde_json's error for a failed write carries the io::Error with its kind.
    serde_json::to_writer(&mut *to, value).map_err(io::Error::from)?;
    to.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_one_newline() {
        let mut out = Vec::new();
        write(&serde_json::json!({"schema": "nat-ctl/stats/1", "n": [1, 2]}), &mut out).unwrap();
        assert_eq!(out, b"{\"n\":[1,2],\"schema\":\"nat-ctl/stats/1\"}\n");
    }

    #[test]
    fn the_kind_of_a_write_error_survives() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = write(&"x", &mut Broken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
