//! Writes captures as pcap files (nanoseconds, Ethernet), for tcpdump and for people.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

use super::sniffer::Frame;

const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: (u16, u16) = (2, 4);
const FRAME_BYTES_MAX: u32 = 262_144;
const LINKTYPE_ETHERNET: u32 = 1;

pub fn write<'a>(path: &Path, frames: impl IntoIterator<Item = &'a Frame>) {
    try_write(path, frames)
        .unwrap_or_else(|error| panic!("write the capture {}: {error}", path.display()));
}

fn try_write<'a>(path: &Path, frames: impl IntoIterator<Item = &'a Frame>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&MAGIC_NANOSECONDS.to_le_bytes())?;
    file.write_all(&VERSION.0.to_le_bytes())?;
    file.write_all(&VERSION.1.to_le_bytes())?;
    // Time zone and accuracy, which nobody uses.
    file.write_all(&[0; 8])?;
    file.write_all(&FRAME_BYTES_MAX.to_le_bytes())?;
    file.write_all(&LINKTYPE_ETHERNET.to_le_bytes())?;
    for frame in frames {
        // The format has 32 bits for the seconds.
        let seconds = frame.time.as_secs() as u32;
        let length = u32::try_from(frame.bytes.len()).map_err(io::Error::other)?;
        file.write_all(&seconds.to_le_bytes())?;
        file.write_all(&frame.time.subsec_nanos().to_le_bytes())?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&frame.bytes)?;
    }
    file.flush()
}
